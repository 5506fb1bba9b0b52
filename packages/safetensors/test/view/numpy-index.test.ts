import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SafetensorsError } from "../../src/errors.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { parseIndex } from "../../src/view/index-text.ts";
import { reshapeView, transposeView } from "../../src/view/rearrange.ts";
import { sliceView } from "../../src/view/slice.ts";
import { piecesOf, type TensorView } from "../../src/view/tiling.ts";
import { contiguousStrides } from "../../src/view/view.ts";
import { fixture } from "../fixtures.ts";

// Written by interop/make_index_goldens.py, which asked NumPy.
type Step = { slice: string } | { transpose: number[] } | { reshape: number[] };
interface Case {
  readonly shape: number[];
  readonly steps: readonly Step[];
  readonly answer: "error" | { readonly shape: number[]; readonly elements: number[] };
}
const cases = JSON.parse(Buffer.from(fixture("index-goldens.json")).toString("utf8")) as Case[];

const source = fromBytes(new Uint8Array(0));

function apply(view: TensorView, step: Step): TensorView {
  if ("slice" in step) return sliceView(view, parseIndex(`[${step.slice}]`));
  if ("transpose" in step) return transposeView(view, step.transpose);
  return reshapeView(view, step.reshape);
}

/** The element numbers that a view selects, in row-major order: slow and plain. */
function elementsOf(view: TensorView): number[] {
  const strides = contiguousStrides(view.shape);
  const elements: number[] = [];
  for (const { view: piece, at } of piecesOf(view)) {
    const visit = (axis: number, element: number, place: number): void => {
      if (axis === piece.shape.length) {
        assert.equal(elements[place], undefined, "pieces must not overlap");
        elements[place] = element;
        return;
      }
      for (let i = 0; i < piece.shape[axis]!; i++) {
        visit(axis + 1, element + i * piece.strides[axis]!, place + (at[axis]! + i) * strides[axis]!);
      }
    };
    visit(0, piece.bitOffset / 8, 0);
  }
  return Array.from(elements);
}

describe("NumPy's answers to indexing, transposing and reshaping", () => {
  it("are many, of both kinds", () => {
    assert.ok(cases.length >= 700);
    assert.ok(cases.filter(({ answer }) => answer === "error").length > 50);
  });

  for (const [index, { shape, steps, answer }] of cases.entries()) {
    it(`case ${index}: ${JSON.stringify(shape)} ${JSON.stringify(steps)}`, () => {
      const whole: TensorView = {
        source,
        dtype: "U8",
        shape,
        strides: contiguousStrides(shape),
        bitOffset: 0,
      };
      if (answer === "error") {
        assert.throws(() => steps.reduce(apply, whole), SafetensorsError);
        return;
      }
      const result = steps.reduce(apply, whole);
      assert.deepEqual(result.shape, answer.shape);
      assert.deepEqual(elementsOf(result), answer.elements);
    });
  }
});
