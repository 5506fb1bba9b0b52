import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { observed } from "../../src/source/observed.ts";
import { EXACT, priced } from "../../src/source/priced.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { range } from "../../src/view/index-items.ts";
import { noise } from "../support.ts";

describe("priced", () => {
  it("passes on what a source is and can do", async () => {
    let closed = 0;
    const memory = priced({ ...fromBytes(noise(9)), close: () => void closed++ }, EXACT);
    assert.deepEqual([memory.size, memory.name, memory.cost], [9, "memory", EXACT]);
    assert.deepEqual(
      [await memory.read(2, 3), memory.view?.(2, 3)],
      [noise(9).slice(2, 5), noise(9).slice(2, 5)],
    );
    await memory.close?.();
    assert.equal(closed, 1);
    const plain: ByteSource = { size: 1, read: async () => new Uint8Array(1) };
    assert.deepEqual(
      Object.keys(priced(plain, EXACT)).filter((key) => key === "view" || key === "readInto"),
      [],
    );
  });

  it("has plans read what is asked for and nothing else, or the gaps too where they cost less", async () => {
    const bytes = noise(100 * 100);
    const file: ByteSource = { size: bytes.length, read: async (at, length) => bytes.slice(at, at + length) };
    const countOf = async (cost: NonNullable<ByteSource["cost"]>): Promise<[number, number]> => {
      const traffic = { requests: 0, bytes: 0 };
      const source = observed(priced(file, cost), traffic);
      const view = { source, dtype: "U8" as const, shape: [100, 100], strides: [100, 1], bitOffset: 0 };
      const part = await new TensorHandle("w", view).slice(null, range(0, 25)).bytes();
      assert.deepEqual(part.subarray(25, 50), bytes.subarray(100, 125));
      return [traffic.requests, traffic.bytes];
    };
    assert.deepEqual(await countOf(EXACT), [100, 2500]);
    assert.deepEqual(await countOf({ operation: 1e-3, byte: 1e-9 }), [1, 99 * 100 + 25]);
  });
});
