import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { castFloats, type FloatDtype } from "../../src/dtype/cast.ts";
import { CAST_ROOM } from "../../src/kernels/cast.ts";
import { PAGE } from "../../src/kernels/memory.ts";
import type { FromWorker } from "../../src/workers/messages.ts";
import { PoolMemory } from "../../src/workers/pool-memory.ts";
import { PoolServer } from "../../src/workers/serve.ts";

const COUNT = 4096;
const values = new Uint8Array(Float32Array.from({ length: COUNT }, (_, i) => i / 7 - 99).buffer);

describe("the memory of a pool", () => {
  it("has a range for each worker, and what is lent behind them", () => {
    const memory = PoolMemory.of(10_000, 3)!;
    const ranges = [0, 1, 2].map((worker) => memory.rangeOf(worker));
    const lent = memory.allocate(10_000)!;
    const starts = [...ranges.map(({ start }) => start), lent.byteOffset];
    for (const [i, { start, size }] of ranges.entries())
      assert.ok(start >= 65536 && start + size === starts[i + 1]);
    assert.equal(memory.allocate(1), undefined);
    memory.release(lent);
    assert.equal(memory.allocate(64)!.byteOffset, lent.byteOffset);
    assert.equal(PoolMemory.of(0, 1), undefined);
  });

  it("is told to workers by addresses, other memory is sent", () => {
    const memory = PoolMemory.of(1000, 1)!;
    const part = memory.allocate(1000)!.subarray(10, 30);
    assert.deepEqual(memory.send(part), { at: part.byteOffset, length: 20 });
    const other = new Uint8Array(new SharedArrayBuffer(8));
    assert.equal(memory.send(other), other);
  });

  it("is where a worker casts, with no copies but of a ragged end", async () => {
    for (const [from, to, count] of [
      ["F32", "BF16", COUNT],
      ["F32", "F8_E4M3", COUNT],
      ["F32", "BF16", COUNT - 5],
    ] as const) {
      const memory = PoolMemory.of(1 << 16, 1)!;
      const bytes = memory.allocate(count * 4)!;
      bytes.set(values.subarray(0, bytes.length));
      const expected = castFloats(from, to, new Uint8Array(bytes));
      const result = memory.allocate(expected.length)!;
      assert.deepEqual(await castIn(memory, from, to, bytes, result), [{ kind: "done", batch: 7 }]);
      assert.deepEqual(new Uint8Array(result), expected);
      const { start, size } = memory.rangeOf(0);
      const used = new Uint8Array(bytes.buffer, start, size).reduce(
        (sum, byte) => sum + Number(byte !== 0),
        0,
      );
      assert.ok(count % 16 === 0 ? used === 0 : used > 0 && used < 100, `${used} bytes beside`);
    }
  });

  it("is cast up to its last bytes, where it has all that there are", async (test) => {
    const most = 2 ** 32 - 2 * PAGE - CAST_ROOM;
    const size = most - (most % 64);
    const memory = PoolMemory.of(size, 1);
    if (!memory) return test.skip("the system has no such memory");
    const lent = memory.allocate(size)!;
    // Kernels walk through quarters, of which one more would lie beyond all addresses.
    const many = new Uint8Array((1 << 19) + 4).map((_, i) => values[i % values.length]!);
    for (const [from, to] of [
      ["F32", "BF16"],
      ["F32", "F16"],
      ["F32", "F8_E4M3"],
      ["BF16", "F32"],
      ["F16", "F32"],
    ] as const) {
      const expected = castFloats(from, to, many);
      for (const atEnd of ["input", "result"]) {
        const bytes = lent.subarray(atEnd === "input" ? size - many.length : 0).subarray(0, many.length);
        const start = atEnd === "input" ? 2 * many.length : size - expected.length;
        const result = lent.subarray(start, start + expected.length);
        bytes.set(many);
        await castIn(memory, from, to, bytes, result);
        assert.deepEqual(new Uint8Array(result), expected, `${from} to ${to}, the ${atEnd} at the end`);
      }
    }
  });
});

/** What a worker answers. */
async function castIn(
  memory: PoolMemory,
  from: FloatDtype,
  to: FloatDtype,
  bytes: Uint8Array,
  result: Uint8Array,
): Promise<FromWorker[]> {
  const answers: FromWorker[] = [];
  const server = new PoolServer((message) => answers.push(message));
  const next = new Int32Array(new SharedArrayBuffer(4));
  const work = { bytes: memory.send(bytes), result: memory.send(result), next };
  await server.receive({ kind: "memory", range: memory.rangeOf(0) });
  await server.receive({ kind: "cast", batch: 7, from, to, ...work });
  return answers;
}
