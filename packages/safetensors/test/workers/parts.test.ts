import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DTYPES, type Dtype, elementCount } from "../../src/dtype/dtype.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { sliceView } from "../../src/view/slice.ts";
import { contiguousStrides, type StridedView } from "../../src/view/view.ts";
import { partsOf } from "../../src/workers/parts.ts";

const source = fromBytes(new Uint8Array(0));

function view(
  shape: readonly number[],
  strides = contiguousStrides(shape),
  dtype: Dtype = "U8",
): StridedView {
  return { source, dtype, shape, strides, bitOffset: 0 };
}

const sizes = (tensor: StridedView, most: number): number[] =>
  Array.from(partsOf(tensor, most), ({ count }) => count);

describe("the parts of a tensor", () => {
  it("are rows of the first axis, all of about the same size", () => {
    assert.deepEqual(sizes(view([10, 7]), 70), [70]);
    assert.deepEqual(sizes(view([10, 7]), 69), [35, 35]);
    assert.deepEqual(sizes(view([10, 7]), 21), [21, 21, 21, 7]);
    assert.deepEqual(sizes(view([1, 10, 7]), 35), [35, 35]);
    assert.deepEqual(sizes(view([2, 10, 7]), 40), [35, 35, 35, 35]);
    assert.deepEqual(sizes(view([]), 1), [1]);
    assert.deepEqual(sizes(view([0, 5]), 1), [0]);
  });

  it("are whole bytes, or there is only one", () => {
    assert.deepEqual(sizes(view([10, 3], undefined, "F4"), 9), [6, 6, 6, 6, 6]);
    assert.deepEqual(sizes(view([9, 2, 3], undefined, "F6_E2M3"), 12), [12, 12, 12, 12, 6]);
    assert.deepEqual(sizes(view([2, 9, 3], undefined, "F4"), 9), [54]);
  });

  it("are only made where rows lie apart", () => {
    assert.deepEqual(sizes(view([4, 6], [1, 4]), 6), [24], "transposed");
    assert.deepEqual(sizes(view([4, 6], [0, 1]), 6), [24], "expanded");
    assert.deepEqual(sizes(view([4, 6], [100, 3]), 6), [6, 6, 6, 6], "a part of the columns");
    assert.deepEqual(sizes(view([4, 6], [-6, 1]), 12), [12, 12], "backwards");
    const rows = sliceView(view([4, 6]), [[3, 1, 1]]);
    assert.equal([...partsOf(rows, 2)].length, 1, "picked");
  });

  it("follow each other without a gap, and slice to what they say", () => {
    const shapes = fc.array(fc.nat({ max: 9 }), { maxLength: 4 });
    const cut = fc.property(
      shapes,
      fc.integer({ min: 1, max: 200 }),
      fc.constantFrom("U8", "F4", "F6_E3M2"),
      (shape, most, dtype) => {
        const tensor = view(shape, undefined, dtype as Dtype);
        const { bits } = DTYPES[tensor.dtype];
        let end = 0;
        for (const { items, start, count } of partsOf(tensor, most)) {
          assert.equal(start, end);
          assert.equal((start * bits) % 8, 0);
          end += count;
          const part = items ? (sliceView(tensor, items) as StridedView) : tensor;
          assert.equal(elementCount(part.shape), count);
          assert.equal(part.bitOffset, start * bits);
        }
        assert.equal(end, elementCount(shape));
      },
    );
    fc.assert(cut, { seed: 42, numRuns: 500 });
  });
});
