import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBytes } from "../../src/source/memory.ts";
import { groupAliases, openTorch } from "../../src/torch/index.ts";
import { call, type Plain, pickleFile, push, storage, strided } from "./torch-file.ts";

/** A lazy view; each call makes another tensor for Python. */
function lazy(bits: Plain, className = "torch.ComplexFloatStorage", offset = 0): Uint8Array {
  const parts = { storage: storage(className, "0", 6), offset, size: [2], stride: [2] };
  return call("torch._utils._rebuild_tensor_v2", ...strided(parts), false, null, bits);
}

async function aliases(value: { [name: string]: Plain }, storageBytes = 48): Promise<[string, string][]> {
  const file = pickleFile(push(value), [storageBytes]);
  const checkpoint = await openTorch(fromBytes(file), { complex128: "split" });
  for (const tensor of checkpoint) assert.equal((await tensor.bytes()).length, tensor.byteLength);
  return [...groupAliases(checkpoint).aliases];
}

const CONJ = { conj: true };
const NEG = { neg: true };

test("equal conjugate and negative views are one tensor with two names", async () => {
  assert.deepEqual(await aliases({ a: lazy(CONJ), b: lazy(CONJ) }), [["b", "a"]]);
  assert.deepEqual(await aliases({ a: lazy(NEG), b: lazy(NEG) }), [["b", "a"]]);
  const both = { conj: true, neg: true };
  assert.deepEqual(await aliases({ a: lazy(both), b: lazy(both), c: lazy(CONJ) }), [["b", "a"]]);
  const doubles = () => lazy(CONJ, "torch.ComplexDoubleStorage");
  assert.deepEqual(await aliases({ a: doubles(), b: doubles() }, 96), [
    ["b.real", "a.real"],
    ["b.imag", "a.imag"],
  ]);
});

test("views of another place, another kind or nothing are not", async () => {
  assert.deepEqual(await aliases({ a: lazy(CONJ), b: lazy(CONJ, undefined, 1) }), []);
  assert.deepEqual(await aliases({ a: lazy(CONJ), b: lazy(NEG), c: lazy({}) }), []);
  const empty = () => {
    const parts = { storage: storage("torch.ComplexFloatStorage", "0", 6), size: [0], stride: [1] };
    return call("torch._utils._rebuild_tensor_v2", ...strided(parts), false, null, CONJ);
  };
  assert.deepEqual(await aliases({ a: empty(), b: empty() }), []);
});
