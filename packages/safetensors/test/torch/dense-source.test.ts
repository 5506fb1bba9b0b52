import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Dtype } from "../../src/dtype/dtype.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { DenseSource, type SparseParts } from "../../src/torch/dense-source.ts";
import { adderOf } from "../../src/torch/sum.ts";
import { contiguousStrides, type StridedView } from "../../src/view/view.ts";
import { raises } from "../support.ts";

type Numbers = BigInt64Array | Int32Array | Float32Array | Uint8Array;

function viewOf(array: Numbers, dtype: Dtype, shape: readonly number[]): StridedView {
  return { source: fromBytes(array), dtype, shape, strides: contiguousStrides(shape), bitOffset: 0 };
}

/** A tensor of shape [4, 3, 2] with elements, or rows of two, at places that may repeat. */
const COORDINATES = fc.constantFrom(2, 3).chain((dimensions) =>
  fc.record({
    dimensions: fc.constant(dimensions),
    places: fc.array(fc.tuple(fc.nat(3), fc.nat(2), fc.nat(1)), { maxLength: 12 }),
  }),
);

test("any range of a sparse tensor is that of the dense one", async () => {
  const shape = [4, 3, 2];
  await fc.assert(
    fc.asyncProperty(COORDINATES, fc.nat(95), fc.nat(96), async ({ dimensions, places }, offset, more) => {
      const count = places.length;
      const inner = dimensions === 2 ? 2 : 1;
      const values = Float32Array.from({ length: count * inner }, (_, index) => index + 1);
      const dense = new Float32Array(24);
      for (const [run, [a, b, c]] of places.entries()) {
        const start = a * 6 + b * 2 + (dimensions === 2 ? 0 : c);
        for (let i = 0; i < inner; i++) dense[start + i]! += values[run * inner + i]!;
      }
      const indices = new BigInt64Array(dimensions * count);
      for (const [run, place] of places.entries()) {
        for (let axis = 0; axis < dimensions; axis++) indices[axis * count + run] = BigInt(place[axis]!);
      }
      const parts: SparseParts = {
        layout: "sparse_coo",
        shape,
        indices: [[dimensions, count]],
        values: dimensions === 2 ? [count, 2] : [count],
      };
      const source = new DenseSource(
        parts,
        [viewOf(indices, "I64", parts.indices[0]!)],
        viewOf(values, "F32", parts.values),
      );
      const length = Math.min(more, 96 - offset);
      const wanted = new Uint8Array(dense.buffer, offset, length);
      assert.deepEqual([...(await source.read(offset, length))], [...wanted]);
    }),
    { seed: 42, numRuns: 500 },
  );
});

test("indices are checked when they are read", async () => {
  const parts = { layout: "sparse_csr", shape: [2, 3], indices: [[3], [3]], values: [3] };
  const read = (rows: readonly number[], columns: readonly number[]) =>
    new DenseSource(
      parts,
      [viewOf(Int32Array.from(rows), "I32", [3]), viewOf(Int32Array.from(columns), "I32", [3])],
      viewOf(Float32Array.of(1, 2, 3), "F32", [3]),
    ).read(0, 24);
  assert.deepEqual([...new Float32Array((await read([0, 1, 3], [2, 0, 1])).buffer)], [0, 0, 1, 2, 3, 0]);
  for (const rows of [
    [1, 1, 3],
    [0, 1, 2],
    [0, 4, 3],
    [0, -1, 3],
    [0, 2, 4],
  ]) {
    await assert.rejects(read(rows, [0, 1, 2]), raises("INVALID_TENSOR", /not in order|wrong index/));
  }
  for (const columns of [
    [0, 0, 3],
    [0, -1, 1],
    [0, 1, 1],
    [0, 1, 0],
  ]) {
    await assert.rejects(read([0, 1, 3], columns), raises("INVALID_TENSOR", /wrong index -?\d on axis 1/));
  }
});

test("a few bytes that stand for many elements are not read into memory", async () => {
  const count = 10 ** 9;
  const parts = { layout: "sparse_coo", shape: [5], indices: [[1, count]], values: [count] };
  const repeated = (array: Numbers, dtype: Dtype, shape: readonly number[]): StridedView => ({
    ...viewOf(array, dtype, shape),
    strides: shape.map(() => 0),
  });
  const source = new DenseSource(
    parts,
    [repeated(BigInt64Array.of(1n), "I64", [1, count])],
    repeated(Float32Array.of(1), "F32", [count]),
  );
  await assert.rejects(source.read(0, 4), raises("LIMIT_EXCEEDED", /sparse/, { limit: "MAX_SPARSE_BYTES" }));
  const block = { layout: "sparse_bsr", shape: [count, 1], indices: [[2], [1]], values: [1, count, 1] };
  const rows = new DenseSource(
    block,
    [viewOf(Int32Array.of(0, 1), "I32", [2]), viewOf(Int32Array.of(0), "I32", [1])],
    repeated(Uint8Array.of(1), "U8", [1, count, 1]),
  );
  await assert.rejects(rows.read(0, 4), raises("LIMIT_EXCEEDED", /sparse/, { limit: "MAX_SPARSE_BYTES" }));
});

test("a failed read is made again", async () => {
  let fail = true;
  const memory = fromBytes(BigInt64Array.of(1n));
  const source = {
    size: 8,
    async read(offset: number, length: number): Promise<Uint8Array> {
      if (fail) throw new Error("gone");
      return memory.read(offset, length);
    },
  };
  const parts = { layout: "sparse_coo", shape: [2], indices: [[1, 1]], values: [1] };
  const indices = { ...viewOf(BigInt64Array.of(1n), "I64", [1, 1]), source };
  const dense = new DenseSource(parts, [indices], viewOf(Float32Array.of(3), "F32", [1]));
  await assert.rejects(dense.read(0, 8), /gone/);
  fail = false;
  assert.deepEqual([...new Float32Array((await dense.read(0, 8)).buffer)], [0, 3]);
});

test("elements are added as PyTorch adds them", () => {
  const sum = (dtype: Dtype, a: ArrayBufferView, b: ArrayBufferView): ArrayBuffer => {
    const target = new Uint8Array(a.buffer.slice(0) as ArrayBuffer);
    adderOf(dtype)!(target, new Uint8Array(b.buffer as ArrayBuffer));
    return target.buffer;
  };
  assert.deepEqual(
    [...new Uint8Array(sum("BOOL", Uint8Array.of(0, 1, 1), Uint8Array.of(0, 0, 1)))],
    [0, 1, 1],
  );
  assert.deepEqual([...new Int8Array(sum("I8", Int8Array.of(100, -3), Int8Array.of(100, 1)))], [-56, -2]);
  assert.deepEqual([...new Int16Array(sum("I16", Int16Array.of(32767), Int16Array.of(1)))], [-32768]);
  assert.deepEqual([...new Int32Array(sum("I32", Int32Array.of(-1), Int32Array.of(3)))], [2]);
  const long = sum("I64", BigInt64Array.of(-1n, 2n ** 62n), BigInt64Array.of(3n, 2n ** 62n));
  assert.deepEqual([...new BigInt64Array(long)], [2n, -(2n ** 63n)]);
  assert.deepEqual(
    [...new Float64Array(sum("F64", Float64Array.of(0.1), Float64Array.of(0.2)))],
    [0.1 + 0.2],
  );
  for (const dtype of ["F8_E4M3", "F8_E5M2"] as const) assert.equal(adderOf(dtype), undefined);
});
