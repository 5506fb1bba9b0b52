import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromBytes } from "../../src/source/memory.ts";
import type { IndexItem } from "../../src/view/index-items.ts";
import { parseIndex } from "../../src/view/index-text.ts";
import { reshapeView, transposeView } from "../../src/view/rearrange.ts";
import { sliceView } from "../../src/view/slice.ts";
import { contiguousStrides, type StridedView } from "../../src/view/view.ts";
import { raises } from "../support.ts";

// What is an error is for NumPy to say (numpy-index.test.ts); this is about what the errors tell.

const viewOf = (shape: readonly number[]): StridedView => {
  return {
    source: fromBytes(new Uint8Array(0)),
    dtype: "F4",
    shape,
    strides: contiguousStrides(shape),
    bitOffset: 4,
  };
};

describe("the errors of indexing", () => {
  const cases: readonly (readonly [items: readonly IndexItem[], "INVALID_SLICE" | "OUT_OF_RANGE", RegExp])[] =
    [
      [["...", "..."], "INVALID_SLICE", /one "\.\.\." only/],
      [[0, 0, 0], "INVALID_SLICE", /3 items index a tensor of 2 dimensions/],
      [[{ step: 0 }], "INVALID_SLICE", /cannot be zero/],
      [[0.5], "INVALID_SLICE", /0\.5 is not an integer/],
      [[{ start: Number.NaN }], "INVALID_SLICE", /NaN is not an integer/],
      [[[0, 2 ** 53]], "INVALID_SLICE", /is not an integer/],
      [
        [
          [0, 1],
          [0, 1, 2],
        ],
        "INVALID_SLICE",
        /different lengths: 2, 3/,
      ],
      [[null, 4], "OUT_OF_RANGE", /index 4 is outside dimension 1, which has size 4/],
      [[-4], "OUT_OF_RANGE", /index -4 is outside dimension 0, which has size 3/],
      [[[0, 3]], "OUT_OF_RANGE", /index 3 is outside dimension 0/],
    ];
  for (const [items, code, message] of cases) {
    it(JSON.stringify(items), () =>
      assert.throws(() => sliceView(viewOf([3, 4]), items), raises(code, message)),
    );
  }

  for (const text of ["a", "1.5", "1:2:3:4", "0x1", "1 2", "[a]", "[[[0]]]", "--1", "1,,2"]) {
    it(`reading ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseIndex(text), raises("INVALID_SLICE", /cannot be read as an index/));
    });
  }

  it("of transposing and reshaping", () => {
    const view = viewOf([3, 4]);
    for (const axes of [[0], [0, 0], [0, 2], [0, 1, 2], [-3, 0]]) {
      assert.throws(
        () => transposeView(view, axes),
        raises("INVALID_SLICE", /do not name each of 2 dimensions once/),
      );
    }
    assert.throws(
      () => reshapeView(view, [5, 2]),
      raises("INVALID_SLICE", /12 elements .* do not fill the shape \[5,2\]/),
    );
    assert.throws(() => reshapeView(view, [-1, -1]), raises("INVALID_SLICE", /not a shape/));
    assert.throws(() => reshapeView(view, [-1, 0]), raises("INVALID_SLICE"));
    assert.throws(() => reshapeView(transposeView(view), [12]), raises("INVALID_SLICE", /without a copy/));
  });
});

describe("indexing of elements below a byte", () => {
  it("counts in bits", () => {
    const found = sliceView(viewOf([3, 4]), [1, { start: 3, step: -2 }]);
    assert.ok(!("pieces" in found));
    // Element [1, 3] is number 7, behind the 4 bits before element 0.
    assert.deepEqual([found.bitOffset, found.shape, found.strides], [4 + 7 * 4, [2], [-2]]);
  });
});
