import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { editFile } from "../../../src/node/edit/edit-file.ts";
import { openPath } from "../../../src/node/open-path.ts";
import { saveFile } from "../../../src/node/write/save-file.ts";
import { numbers, temporaryFolder } from "../../support.ts";

const PROGRAM = fileURLToPath(new URL("editing-program.js", import.meta.url));
const KILLS = 3;

it("an edit that is killed leaves a file whose header and tensors are whole", async () => {
  const folder = temporaryFolder();
  const file = join(folder, "model.safetensors");
  const next = numbers(3);
  const w = { dtype: "U8", shape: [200_000], data: new Uint8Array(200_000) } as const;
  await saveFile(file, { w }, { metadata: { k: "" }, reserve: 3000 });
  for (let kill = 0; kill < KILLS; kill++) {
    const child = spawn(process.execPath, [PROGRAM, file], { stdio: ["ignore", "pipe", "inherit"] });
    const closed = once(child, "close");
    await once(child.stdout, "data");
    await wait(next() % 40);
    child.kill("SIGKILL");
    await closed;
    await using checkpoint = await openPath(file);
    assert.match(checkpoint.metadata.get("k")!, /^([a-z])\1{2999}$/);
    const bytes = await checkpoint.get("w").bytes();
    assert.ok(bytes.every((byte) => byte === bytes[0]));
  }
  await editFile(file, { setMetadata: { k: "end" } });
  assert.deepEqual(readdirSync(folder), ["model.safetensors"]);
});
