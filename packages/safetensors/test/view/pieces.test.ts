import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromBytes } from "../../src/source/memory.ts";
import {
  concatViews,
  deinterleaveView,
  interleaveViews,
  splitView,
  stackAlike,
} from "../../src/view/concat.ts";
import { transposeView } from "../../src/view/rearrange.ts";
import { reshapeInPieces } from "../../src/view/reshape.ts";
import { permuteRopeView } from "../../src/view/rope.ts";
import { piecesOf, type TensorView } from "../../src/view/tiling.ts";
import { contiguousStrides, type StridedView } from "../../src/view/view.ts";
import { raises } from "../support.ts";

const source = fromBytes(new Uint8Array(0));

function viewOf(shape: readonly number[], first = 0): StridedView {
  return { source, dtype: "BF16", shape, strides: contiguousStrides(shape), bitOffset: first * 16 };
}

const countOf = (view: TensorView): number => piecesOf(view).length;

describe("views in pieces are in as few as can be", () => {
  it("where one lies after the other: one", () => {
    const joined = concatViews([viewOf([2, 3]), viewOf([4, 3], 6), viewOf([1, 3], 18)], 0);
    assert.deepEqual(joined, viewOf([7, 3]));
    const whole = viewOf([6, 4, 5]);
    for (const axis of [0, 1, 2]) {
      const sizes = [1, whole.shape[axis]! - 3, 2];
      assert.deepEqual(concatViews(splitView(whole, axis, sizes), axis), whole);
    }
    assert.equal(countOf(concatViews([viewOf([2, 3]), viewOf([4, 3], 7)], 0)), 2);
  });

  it("for the rotary permutation: one for each half of a head, in both directions", () => {
    const q = viewOf([4096, 4096]);
    for (const inverse of [false, true]) {
      const permuted = permuteRopeView(q, 32, inverse);
      assert.equal(countOf(permuted), 64);
      assert.equal(countOf(concatViews([permuted, viewOf([1024, 4096])], 0)), 65);
    }
    assert.deepEqual(permuteRopeView(viewOf([8]), 4, false), viewOf([8]));
  });

  it("for tensors that take turns: one for each, and none more on the way back", () => {
    const fused = interleaveViews([viewOf([2880, 4]), viewOf([2880, 4], 20_000)], 0);
    assert.equal(countOf(fused), 2);
    assert.deepEqual(deinterleaveView(fused, 0, 2).map(countOf), [1, 1]);
  });

  it("for a new shape: one wherever it can be", () => {
    const view = viewOf([4, 6]);
    for (const shape of [[24], [2, 2, 6], [4, 1, 3, 2], [3, 8], [24, 1], [-1, 2]]) {
      assert.equal(countOf(reshapeInPieces(view, shape)), 1, `${shape}`);
    }
    assert.equal(countOf(reshapeInPieces(transposeView(view), [24])), 4);
    // Heads of rows that were joined at the border of a head.
    const joined = concatViews([viewOf([4, 2]), viewOf([8, 2], 100)], 0);
    assert.equal(countOf(reshapeInPieces(joined, [3, 4, 2])), 2);
  });
});

describe("views that do not fit are refused", () => {
  const [a, b] = [viewOf([2, 3]), viewOf([2, 4])];
  const cases: [string, () => unknown, RegExp][] = [
    [
      "of other shapes along other axes",
      () => concatViews([a, b], 0),
      /\[2,3\] and \[2,4\] cannot be joined along axis 0/,
    ],
    ["of other ranks", () => concatViews([a, viewOf([2])], 0), /cannot be joined/],
    [
      "of other dtypes",
      () => concatViews([a, { ...a, dtype: "F16" }], 0),
      /BF16 and F16 cannot be one tensor/,
    ],
    ["none at all", () => concatViews([], 0), /no tensor to join/],
    ["stacked with other shapes", () => stackAlike([a, b], 0), /not of one shape/],
    ["taking turns with other shapes", () => interleaveViews([a, b], 1), /not of one shape/],
    ["in parts that are too few", () => splitView(a, 1, [1, 1]), /1 \+ 1 do not make axis 1/],
    ["in parts of fractions", () => splitView(a, 1, [1.5, 1.5]), /do not make/],
    ["in negative parts", () => splitView(a, 1, [-1, 4]), /do not make/],
    ["in turns that do not come out even", () => deinterleaveView(a, 1, 2), /2 equal parts/],
    ["along an axis that is not there", () => splitView(a, -3, [2]), /no axis -3/],
  ];
  for (const [title, act, message] of cases)
    it(title, () => assert.throws(act, raises("INVALID_SLICE", message)));

  it("in more pieces than there may be", () => {
    const columns = transposeView(viewOf([2 ** 11, 2 ** 11]));
    assert.equal(countOf(reshapeInPieces(columns, [2 ** 22])), 2 ** 11);
    const worse = transposeView(viewOf([128, 128, 128, 128]));
    assert.throws(
      () => reshapeInPieces(worse, [2 ** 28]),
      raises("LIMIT_EXCEEDED", /1048576 pieces/, { limit: "MAX_PIECES" }),
    );
  });
});
