import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { openPool } from "../../src/workers/index.ts";
import { SharedMemory } from "../../src/workers/memory.ts";
import { handMade, temporaryFolder } from "../support.ts";
import { tensorOf } from "./checkpoints.ts";

describe("the shared memory of a call", () => {
  it("is never more than its budget", () => {
    const memory = new SharedMemory(100);
    const sizeOf = (size: number, beside: number): number | undefined =>
      memory.take(size, beside)?.memory.byteLength;
    assert.equal(sizeOf(60, 30), 60);
    assert.equal(sizeOf(11, 0), undefined);
    memory.release(30);
    assert.equal(sizeOf(41, 0), undefined);
    assert.equal(sizeOf(40, 0), 40);
    memory.release(60);
    assert.equal(sizeOf(50, 11), undefined);
    assert.equal(sizeOf(50, 10), 50);
  });

  it("serves again where it is not much too large, and makes room where it is", () => {
    const memory = new SharedMemory(100);
    const first = memory.take(60, 0)!;
    assert.equal(first.isNew, true);
    memory.give(first.memory);
    assert.deepEqual(memory.take(40, 30), { memory: first.memory, isNew: false });
    memory.give(first.memory);
    memory.release(30);
    assert.equal(memory.take(10, 0)?.memory.byteLength, 10);
    // There is no room for the larger one: that it is kept must not keep this from being read.
    const second = memory.take(35, 50)!;
    assert.equal(second.memory.byteLength, 35);
    memory.give(second.memory);
    memory.release(50);
    assert.equal(memory.take(60, 0)?.isNew, true);
    assert.equal(memory.take(30, 0)?.isNew, true, "the spare one of 35 had to go");
  });
});

it("tensors that nobody holds any more do not pile up", async () => {
  const path = join(temporaryFolder(), "file.safetensors");
  const MiB = 1 << 20;
  const names = Array.from({ length: 8 }, (_, i) => `t.${i}`);
  writeFileSync(path, handMade(Object.fromEntries(names.map((name) => [name, tensorOf("U8", [8, MiB])]))));
  await using pool = await openPool(path, { workers: 2 });
  const readAll = async (): Promise<void> => {
    for await (const { bytes } of pool.read({ budget: 32 * MiB })) assert.equal(bytes.length, 8 * MiB);
  };
  await readAll();
  const before = process.memoryUsage.rss();
  for (let i = 0; i < 12; i++) await readAll();
  const grown = (process.memoryUsage.rss() - before) / MiB;
  assert.ok(grown < 400, `after reading 768 MiB there are ${grown} MiB more in memory`);
});
