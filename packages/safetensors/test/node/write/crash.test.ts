import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { numbers, temporaryFolder } from "../../support.ts";
import { listed, READERS, visiblePaths, writeGeneration } from "./generations.ts";

const root = temporaryFolder();
const KILLS = 10;
const WRITER = fileURLToPath(new URL("./crash-writer.js", import.meta.url));

// Hundreds of kills, and larger checkpoints: interop/crash.mjs.
test("a writer that is killed leaves the checkpoint it was to replace, or the new one, whole", async () => {
  const folder = join(root, "model");
  mkdirSync(folder);
  await writeGeneration(folder, 0, 1);
  const random = numbers(7);
  let last = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const child = spawn(process.execPath, [WRITER, folder, String(last + 1)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise((resolve) => child.once("close", resolve));
    let output = "";
    await new Promise<void>((resolve) => {
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        output += text;
        resolve();
      });
    });
    await delay(random() % 40);
    child.kill("SIGKILL");
    await ended;
    const lines = output.split("\n").slice(0, -1);
    assert.ok(
      lines.every((line) => /^\d+$/.test(line)),
      output,
    );
    const begun = Number(lines.at(-1));
    for (const [reader, read] of Object.entries(READERS)) {
      const generation = await read(folder, "model");
      const isExpected = generation === begun || generation === begun - 1;
      assert.ok(isExpected, `${reader} sees ${generation}, not ${begun}: ${listed(folder)}`);
      last = generation;
    }
  }
  await writeGeneration(folder, last + 1, 1, { retire: visiblePaths(folder) });
  assert.deepEqual(listed(folder), ["model.safetensors"]);
});
