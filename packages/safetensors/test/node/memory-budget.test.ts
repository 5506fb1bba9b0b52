import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { fileAround, noise, numbers, temporaryFolder } from "../support.ts";

const MiB = 2 ** 20;
const TOTAL = 600 * MiB;
const BUDGET = 32 * MiB;

/** What a process takes beside the budget: its heap, the code of the library, buffers of the system. Seen: 5 MiB. */
const OVERHEAD = 16 * MiB;

/** Memory outside its heap that V8 lets lie before it collects it: 64 MiB, and what comes while it does. Seen: 110 MiB. */
const UNCOLLECTED = 128 * MiB;

const folder = temporaryFolder();

/** A checkpoint of 600 MiB with tensors of the sizes that come, mostly a hole: only one in thirty has data. */
function checkpointOf(name: string, sizes: () => number): string {
  const entries: string[] = [];
  const lengths: number[] = [];
  for (let at = 0; at < TOTAL; at += lengths.at(-1)!) {
    const length = Math.min(sizes(), TOTAL - at);
    const info = { dtype: "U8", shape: [length], data_offsets: [at, at + length] };
    entries.push(`"layer.${lengths.length}":${JSON.stringify(info)}`);
    lengths.push(length);
  }
  const head = fileAround(`{${entries.join()}}`);
  const path = join(folder, name);
  const fd = openSync(path, "w");
  writeSync(fd, head);
  ftruncateSync(fd, head.length + TOTAL);
  let at = head.length;
  for (const [i, length] of lengths.entries()) {
    if (i % 30 === 0) writeSync(fd, noise(length, i), 0, length, at);
    at += length;
  }
  closeSync(fd);
  return path;
}

const next = numbers(3);
const alike = checkpointOf("alike", () => 3 * MiB);
/** No two are alike, so that no memory fits again. */
const varied = checkpointOf("varied", () => (next() % 8 === 0 ? 24 : 6) * MiB - (next() % MiB));

/** Reads all of it in a process of its own; gives by how many bytes that grew. */
async function growth(path: string, budget: number, ...modes: readonly string[]): Promise<number> {
  const probe = fileURLToPath(new URL("memory-probe.js", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [probe, path, String(budget), ...modes]);
  const found = JSON.parse(stdout) as { bytes: number; growth: number };
  assert.equal(found.bytes, TOTAL);
  return found.growth;
}

describe("the memory of a process that reads all of a large checkpoint", { concurrency: 2 }, () => {
  for (const modes of [[], ["slow"], ["blocking", "slow"]]) {
    it(`stays within the budget: ${modes.join(", ") || "at full speed"}`, async () => {
      const found = await growth(alike, BUDGET, ...modes);
      assert.ok(found <= BUDGET + OVERHEAD, `${found} bytes`);
    });
  }

  it("takes no more than what waits to be collected where no two tensors are alike", async () => {
    const found = await growth(varied, BUDGET);
    assert.ok(found <= BUDGET + OVERHEAD + UNCOLLECTED, `${found} bytes`);
  });

  it("is seen here: it is large with a large budget", async () => {
    const found = await growth(alike, 256 * MiB, "late");
    assert.ok(found > BUDGET + OVERHEAD + UNCOLLECTED, `${found} bytes`);
  });
});
