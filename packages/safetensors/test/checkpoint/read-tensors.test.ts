import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { open } from "../../src/checkpoint/open.ts";
import { save, type TensorData } from "../../src/save/save.ts";
import { memorySink } from "../../src/save/sink.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { range } from "../../src/view/index-items.ts";
import { noise, raises } from "../support.ts";

const TENSORS: Record<string, TensorData> = {
  "a.weight": { dtype: "F32", shape: [64, 32], data: noise(64 * 32 * 4) },
  "a.bias": { dtype: "F32", shape: [64], data: noise(256) },
  "b.weight": { dtype: "U8", shape: [100, 10], data: noise(1000) },
  empty: { dtype: "U8", shape: [0, 5], data: new Uint8Array(0) },
};

/** A checkpoint over a source that counts what is read of the data. */
async function counted(): Promise<{ checkpoint: Checkpoint; reads: { offset: number; length: number }[] }> {
  const sink = memorySink();
  await save(sink, TENSORS);
  const file = sink.bytes();
  const reads: { offset: number; length: number }[] = [];
  const source: ByteSource = {
    size: file.length,
    async read(offset, length) {
      reads.push({ offset, length });
      return file.slice(offset, offset + length);
    },
  };
  const checkpoint = await open(source);
  reads.length = 0;
  return { checkpoint, reads };
}

const bytesOf = (name: string): Uint8Array => TENSORS[name]!.data as Uint8Array;

describe("Checkpoint.read", () => {
  it("gives every tensor in the order of the data, with few reads", async () => {
    const { checkpoint, reads } = await counted();
    const names: string[] = [];
    for await (const tensor of checkpoint.read()) {
      names.push(tensor.name);
      assert.deepEqual(tensor.bytes, new Uint8Array(bytesOf(tensor.name)), tensor.name);
      assert.deepEqual(tensor.shape, TENSORS[tensor.name]!.shape);
    }
    assert.deepEqual(names.sort(), Object.keys(TENSORS).sort());
    // All lies side by side, so one read is the cheapest.
    assert.equal(reads.length, 1);
  });

  it("reads only what is chosen: by a list, a pattern, a test, and slices", async () => {
    const { checkpoint, reads } = await counted();
    const chosen = async (
      names: Iterable<string> | RegExp | ((name: string) => boolean),
    ): Promise<string[]> => {
      const found: string[] = [];
      for await (const { name } of checkpoint.read({ names })) found.push(name);
      return found.sort();
    };
    assert.deepEqual(await chosen(["b.weight", "a.bias"]), ["a.bias", "b.weight"]);
    assert.deepEqual(await chosen(/^a\./g), ["a.bias", "a.weight"]);
    assert.deepEqual(await chosen((name) => name.endsWith("weight")), ["a.weight", "b.weight"]);
    await assert.rejects(chosen(["c"]), raises("TENSOR_NOT_FOUND", /"c"/));

    reads.length = 0;
    const slices = new Map([["b.weight", [range(10, 12)]]]);
    for await (const { shape, bytes } of checkpoint.read({ names: ["b.weight"], slices })) {
      assert.deepEqual(shape, [2, 10]);
      assert.deepEqual(bytes, bytesOf("b.weight").slice(100, 120));
    }
    assert.deepEqual(
      reads.map(({ length }) => length),
      [20],
    );
  });

  it("does what its plan says", async () => {
    const { checkpoint, reads } = await counted();
    const choice = { slices: new Map([["a.weight", [null, range(0, 4)]]]) };
    const plan = await checkpoint.plan(choice);
    assert.deepEqual(reads, [], "planning reads nothing");
    assert.equal(plan.usefulBytes, 64 * 4 * 4 + 256 + 1000);
    for await (const _ of checkpoint.read(choice));
    assert.equal(reads.length, plan.requests);
    assert.equal(
      reads.reduce((sum, { length }) => sum + length, 0),
      plan.bytesRead,
    );
  });

  it("decodes what it has read", async () => {
    const { checkpoint } = await counted();
    for await (const tensor of checkpoint.read({ names: ["a.bias"] })) {
      assert.deepEqual(tensor.data(), await checkpoint.get("a.bias").data());
      assert.deepEqual(await tensor.toFloat32(), await checkpoint.get("a.bias").toFloat32());
    }
  });

  it("tells how far it is, and stops when the signal says so", async () => {
    const { checkpoint } = await counted();
    const tensors: number[] = [];
    for await (const _ of checkpoint.read({ onProgress: (progress) => tensors.push(progress.tensors) }));
    assert.equal(tensors.at(-1), Object.keys(TENSORS).length);
    assert.deepEqual(
      tensors,
      tensors.toSorted((a, b) => a - b),
    );
    const reading = checkpoint.read({ signal: AbortSignal.abort(new Error("enough")) });
    await assert.rejects(async () => {
      for await (const _ of reading);
    }, /enough/);
  });

  it("refuses a budget that no tensor fits into, and says which limit that is", async () => {
    const { checkpoint } = await counted();
    await assert.rejects(
      async () => {
        for await (const _ of checkpoint.read({ budget: 1000 }));
      },
      raises("LIMIT_EXCEEDED", /budget/, { limit: "budget" }),
    );
  });
});

describe("TensorHandle.slice", () => {
  it("reads a part, also a part of a part, lists and backwards", async () => {
    const { checkpoint, reads } = await counted();
    const rows = bytesOf("b.weight");
    const row = (i: number): number[] => [...rows.subarray(i * 10, i * 10 + 10)];
    const tensor = checkpoint.get("b.weight");
    const part = tensor.slice(range(90, null)).slice(-1);
    assert.deepEqual([part.shape, part.byteLength, reads.length], [[10], 10, 0]);
    assert.deepEqual([...(await part.bytes())], row(99));
    assert.deepEqual([...(await tensor.slice([3, 1, 98]).bytes())], [...row(3), ...row(1), ...row(98)]);
    assert.deepEqual([...(await tensor.slice(7, range(null, null, -1)).data())], row(7).reverse());
    assert.throws(() => tensor.slice(100), raises("OUT_OF_RANGE", /dimension 0/));
    assert.throws(() => tensor.slice(0, 0, 0), raises("INVALID_SLICE", /3 items/));
  });
});
