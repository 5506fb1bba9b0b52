import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromBytes } from "../../src/source/memory.ts";
import { parseIndex } from "../../src/view/index-text.ts";
import { sliceView } from "../../src/view/slice.ts";
import { contiguousStrides, type StridedView } from "../../src/view/view.ts";

const shape = [4, 5, 1];
const view: StridedView = {
  source: fromBytes(new Uint8Array(20)),
  dtype: "U8",
  shape,
  strides: contiguousStrides(shape),
  bitOffset: 0,
};

describe("where the axis of several lists goes, as NumPy has it", () => {
  const answers = {
    "3:5, [1, 2, 3], 0": [1, 3],
    "3:5, [1, 2, 3], 0, ...": [1, 3],
    "..., 3:5, [1, 2, 3], 0": [1, 3],
    "3:5, None, [1, 2, 3], 0": [1, 1, 3],
    "3:5, [1, 2, 3], None, 0": [3, 1, 1],
    "[1, 2, 3], ..., 0": [3, 5],
    "3:5, [1, 2, 3], ..., 0": [3, 1],
    "3:5, 1, ..., [0, 0, 0]": [3, 1],
  };
  for (const [index, expected] of Object.entries(answers)) {
    it(index, () => assert.deepEqual(sliceView(view, parseIndex(`[${index}]`)).shape, expected));
  }
});
