import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { namesIn, safetensors, startSafetensors, temporaryFolder } from "./command.ts";
import { writeTorchFile } from "./torch-file.ts";

const MiB = 1 << 20;

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const) {
  test(`${signal} stops a conversion, which leaves nothing and exits with ${code}`, {
    skip: process.platform === "win32",
  }, async (t) => {
    const folder = temporaryFolder(t);
    const input = join(folder, "large.pt");
    writeTorchFile(input, { a: 64 * MiB });
    const child = startSafetensors(["convert", input]);
    const ended = new Promise((resolve) => child.on("close", resolve));
    let errors = "";
    child.stderr?.on("data", (text) => {
      errors += text;
    });
    await someBytesWritten(folder);
    child.kill(signal);
    assert.equal(await ended, code);
    assert.match(errors, /^stopped: nothing was written\n$/);
    assert.deepEqual(namesIn(folder), ["large.pt"]);
  });
}

test("a conversion that is killed leaves the old file or the new one, whole", async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, "large.pt");
  const output = join(folder, "large.safetensors");
  writeTorchFile(input, { a: 8 * MiB });
  assert.equal(safetensors(["convert", input]).code, 0);
  const whole = statSync(output).size;
  let killed = 0;
  for (let delay = 80; delay <= 560; delay += 80) {
    writeFileSync(output, "old");
    const child = startSafetensors(["convert", input]);
    const ended = new Promise((resolve) => child.on("close", resolve));
    await wait(delay);
    if (child.kill("SIGKILL")) killed++;
    await ended;
    const { size } = statSync(output);
    if (size !== whole) assert.equal(readFileSync(output, "utf8"), "old");
  }
  assert.ok(killed > 0);
});

/** Waits until the temporary file of a conversion has some data. */
async function someBytesWritten(folder: string): Promise<void> {
  for (let waited = 0; waited < 20_000; waited += 2) {
    const temporary = namesIn(folder).find((name) => name.endsWith(".tmp"));
    if (temporary !== undefined) {
      const size = statSync(join(folder, temporary), { throwIfNoEntry: false })?.size ?? 0;
      if (size > 0) return;
    }
    await wait(2);
  }
  assert.fail("the conversion has not begun to write");
}
