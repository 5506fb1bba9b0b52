import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Dtype } from "../../src/dtype/dtype.ts";
import { readView } from "../../src/plan/read.ts";
import { fromBytes } from "../../src/source/memory.ts";
import {
  COPY,
  conjugation,
  type ElementMap,
  MappedView,
  negation,
  readElements,
  roundToBfloat16,
} from "../../src/torch/mapped-view.ts";
import { contiguousStrides, type StridedView } from "../../src/view/view.ts";
import { raises } from "../support.ts";

const BYTES = Uint8Array.from({ length: 4096 }, (_, index) => (index * 2654435761) >>> 13);

/** Views of two-byte elements inside of BYTES, some of them with gaps, repeats or reversed axes. */
const VIEWS: fc.Arbitrary<StridedView> = fc
  .array(fc.record({ size: fc.integer({ min: 1, max: 5 }), stride: fc.integer({ min: 0, max: 9 }) }), {
    maxLength: 4,
  })
  .chain((axes) =>
    fc.record({
      source: fc.constant(fromBytes(BYTES)),
      dtype: fc.constant<Dtype>("U16"),
      shape: fc.constant(axes.map(({ size }) => size)),
      strides: fc.constantFrom(
        axes.map(({ stride }) => stride),
        contiguousStrides(axes.map(({ size }) => size)),
      ),
      bitOffset: fc.integer({ min: 0, max: 100 }).map((byte) => byte * 8),
    }),
  );

test("any range of elements of a view is the range of its bytes", async () => {
  await fc.assert(
    fc.asyncProperty(VIEWS, fc.nat(), fc.nat(), async (view, a, b) => {
      const all = await readView(view);
      const count = all.length / 2;
      const start = a % count;
      const length = 1 + (b % (count - start));
      const part = await readElements(view, start, length);
      assert.deepEqual(Buffer.from(part), Buffer.from(all.subarray(2 * start, 2 * (start + length))));
    }),
    { seed: 42, numRuns: 500 },
  );
});

/** Three bytes for each element: its own first one, and its number. */
const NUMBERED: ElementMap = {
  bytes: 3,
  apply: (input, first) =>
    Uint8Array.from({ length: (input.length / 2) * 3 }, (_, at) => {
      const index = Math.floor(at / 3);
      return at % 3 === 0 ? input[2 * index]! : first + index;
    }),
};

test("any range of bytes of a mapped view is that of the whole, and the source stays as it is", async () => {
  const before = BYTES.slice();
  await fc.assert(
    fc.asyncProperty(VIEWS, fc.nat(), fc.nat(), async (view, a, b) => {
      for (const map of [COPY, negation("I16")!, negation("F16")!, NUMBERED]) {
        const source = new MappedView(view, map);
        const all = Buffer.from(await source.read(0, source.size));
        const offset = a % (source.size + 1);
        const length = b % (source.size - offset + 1);
        const part = Buffer.from(await source.read(offset, length));
        assert.deepEqual(part, all.subarray(offset, offset + length));
      }
    }),
    { seed: 42, numRuns: 200 },
  );
  assert.deepEqual(BYTES, before);
});

test("a range outside of a mapped view is refused", async () => {
  const view = { source: fromBytes(BYTES), dtype: "U16", shape: [4], strides: [1], bitOffset: 0 } as const;
  const source = new MappedView(view, COPY);
  for (const [offset, length] of [
    [0, 9],
    [-1, 1],
    [8, 1],
    [0.5, 1],
  ] as const) {
    await assert.rejects(source.read(offset, length), raises("OUT_OF_RANGE"));
  }
  assert.equal((await source.read(8, 0)).length, 0);
});

const apply = async (
  map: { apply: typeof COPY.apply } | undefined,
  input: ArrayBufferView,
): Promise<Uint8Array> =>
  map!.apply(new Uint8Array(input.buffer, input.byteOffset, input.byteLength), 0, undefined);

test("signs turn as PyTorch turns them", async () => {
  const floats = (bytes: Uint8Array) => [...new Float32Array(bytes.slice().buffer)];
  assert.deepEqual(floats(await apply(conjugation, Float32Array.of(1, 2, -0, -3))), [1, -2, -0, 3]);
  assert.deepEqual(floats(await apply(negation("C64"), Float32Array.of(1, 2, -0, -3))), [-1, -2, 0, 3]);
  assert.deepEqual(floats(await apply(negation("F32"), Float32Array.of(1, Infinity))), [-1, -Infinity]);
  const doubles = await apply(negation("F64"), Float64Array.of(1.5, -2));
  assert.deepEqual([...new Float64Array(doubles.slice().buffer)], [-1.5, 2]);
  const longs = await apply(negation("I64"), BigInt64Array.of(1n, 0n, -(2n ** 63n), 2n ** 62n));
  assert.deepEqual([...new BigInt64Array(longs.slice().buffer)], [-1n, 0n, -(2n ** 63n), -(2n ** 62n)]);
  assert.deepEqual([...(await apply(negation("U8"), Uint8Array.of(0, 1, 255)))], [0, 255, 1]);
  for (const dtype of ["BOOL", "F8_E4M3", "F4", "U16", "U64"] as const)
    assert.equal(negation(dtype), undefined);
});

test("floats are rounded to bfloat16 to the nearest, ties to even", async () => {
  const bits = async (value: number) => {
    const bytes = await apply(roundToBfloat16, Float32Array.of(value));
    return (bytes[0]! | (bytes[1]! << 8)).toString(16);
  };
  // Values of torch.tensor(x).to(torch.bfloat16).
  assert.equal(await bits(1), "3f80");
  assert.equal(await bits(1.00390625), "3f80");
  assert.equal(await bits(1.01171875), "3f82");
  assert.equal(await bits(3.4e38), "7f80");
  assert.equal(await bits(-Infinity), "ff80");
  assert.equal(await bits(Number.NaN), "7fc0");
});
