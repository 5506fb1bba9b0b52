import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DTYPES, type Dtype, elementCount } from "../../src/dtype/dtype.ts";
import { readView } from "../../src/plan/read.ts";
import type { ByteSource } from "../../src/source/source.ts";
import {
  concatViews,
  deinterleaveView,
  interleaveViews,
  splitView,
  unstackView,
} from "../../src/view/concat.ts";
import { transposeView } from "../../src/view/rearrange.ts";
import { reshapeInPieces } from "../../src/view/reshape.ts";
import { sliceView } from "../../src/view/slice.ts";
import { stackViews } from "../../src/view/stack.ts";
import type { TensorView } from "../../src/view/tiling.ts";
import { contiguousStrides } from "../../src/view/view.ts";
import { Draw } from "../plan/model.ts";
import { KINDS, testSource } from "../plan/sources.ts";
import { noise } from "../support.ts";
import {
  concatModels,
  interleaveModels,
  type Model,
  modelOf,
  rangeOfModel,
  stackModels,
  transposeModel,
} from "./array-model.ts";

/** A tensor, and what it must hold. */
interface Pair {
  readonly view: TensorView;
  readonly model: Model;
}

const DTYPE_CHOICE: readonly Dtype[] = ["F4", "F6_E2M3", "U8", "BF16", "F32"];
const MOST_ELEMENTS = 600;

/** The value of element number `element` of a packed source, from its bits. */
function valueIn(bytes: Uint8Array, bits: number, element: number): number {
  let value = 0;
  for (let bit = Math.min(bits, 24) - 1; bit >= 0; bit--) {
    const at = element * bits + bit;
    value = value * 2 + ((bytes[Math.floor(at / 8)]! >> (at % 8)) & 1);
  }
  return value;
}

class Bench {
  readonly draw: Draw;
  readonly dtype: Dtype;
  readonly bytes: Uint8Array;
  readonly source: ByteSource;

  constructor(seed: number) {
    this.draw = new Draw(seed);
    this.dtype = this.draw.pick(DTYPE_CHOICE);
    this.bytes = noise(3000, seed);
    this.source = testSource(this.bytes, this.draw.pick(KINDS));
  }

  /** A tensor that lies in order somewhere in the source. */
  leaf(shape: readonly number[]): Pair {
    const { bits } = DTYPES[this.dtype];
    const first = this.draw.int(0, 20);
    const strides = contiguousStrides(shape);
    const view = { source: this.source, dtype: this.dtype, shape, strides, bitOffset: first * bits };
    const element = (index: readonly number[]): number =>
      index.reduce((sum, i, axis) => sum + i * strides[axis]!, first);
    return { view, model: modelOf(shape, (index) => valueIn(this.bytes, bits, element(index))) };
  }

  shape(): number[] {
    return Array.from({ length: this.draw.int(1, 3) }, () => this.draw.int(1, 4));
  }

  /** The tensor, changed once in some way. */
  changed({ view, model }: Pair): Pair {
    const { draw } = this;
    const { shape } = model;
    const axis = draw.int(0, shape.length - 1);
    const others = (count: number): Pair[] => Array.from({ length: count }, () => this.leaf(shape));
    switch (draw.int(0, 8)) {
      case 0: {
        const other = this.leaf(shape.with(axis, draw.int(1, 3)));
        const order = draw.flip() ? [{ view, model }, other] : [other, { view, model }];
        return {
          view: concatViews(
            order.map(({ view }) => view),
            draw.flip() ? axis : axis - shape.length,
          ),
          model: concatModels(
            order.map(({ model }) => model),
            axis,
          ),
        };
      }
      case 1: {
        const all = [{ view, model }, ...others(draw.int(0, 2))];
        return {
          view: stackViews(
            this.dtype,
            shape,
            all.map(({ view }) => view),
            axis,
          ),
          model: stackModels(
            all.map(({ model }) => model),
            axis,
          ),
        };
      }
      case 2: {
        const all = [...others(draw.int(0, 2)), { view, model }];
        return {
          view: interleaveViews(
            all.map(({ view }) => view),
            axis,
          ),
          model: interleaveModels(
            all.map(({ model }) => model),
            axis,
          ),
        };
      }
      case 3: {
        const axes = shape.map((_, i) => (i + axis) % shape.length);
        return { view: transposeView(view, axes), model: transposeModel(model, axes) };
      }
      case 4: {
        const first = draw.int(0, shape[axis]!);
        const parts = splitView(view, axis, [first, shape[axis]! - first]);
        const which = first === shape[axis] ? 0 : 1;
        return {
          view: parts[which]!,
          model: rangeOfModel(model, axis, which * first, which === 0 ? first : shape[axis]! - first, 1),
        };
      }
      case 5: {
        const parts = draw.pick([1, 2, 3]);
        if (shape[axis]! % parts !== 0) return { view, model };
        const which = draw.int(0, parts - 1);
        return {
          view: deinterleaveView(view, axis, parts)[which]!,
          model: rangeOfModel(model, axis, which, shape[axis]! / parts, parts),
        };
      }
      case 6: {
        const index = draw.int(0, shape[axis]! - 1);
        const one = rangeOfModel(model, axis, index, 1, 1);
        return {
          view: unstackView(view, axis)[index]!,
          model: { shape: shape.toSpliced(axis, 1), values: one.values },
        };
      }
      case 7: {
        const step = draw.pick([-3, -2, -1, 2, 3]);
        const start = draw.int(0, shape[axis]! - 1);
        const count = Math.floor((step > 0 ? shape[axis]! - 1 - start : start) / Math.abs(step)) + 1;
        const item = { start, step, stop: null };
        return {
          view: sliceView(view, [...shape.slice(0, axis).map(() => null), item]),
          model: rangeOfModel(model, axis, start, count, step),
        };
      }
      default: {
        const target = this.#otherShape(elementCount(shape));
        return { view: reshapeInPieces(view, target), model: { shape: target, values: model.values } };
      }
    }
  }

  #otherShape(count: number): number[] {
    const shape: number[] = [];
    let rest = count;
    while (rest > 1 && shape.length < 3) {
      const divisors = Array.from({ length: rest }, (_, i) => i + 1).filter((size) => rest % size === 0);
      const size = this.draw.pick(divisors);
      shape.push(size);
      rest /= size;
    }
    return [...shape, rest];
  }
}

describe("views that are joined, cut and reshaped", () => {
  it("hold what arrays would", async () => {
    let inPieces = 0;
    for (let seed = 1; seed <= 250; seed++) {
      const bench = new Bench(seed);
      let pair = bench.leaf(bench.shape());
      for (let step = 0; step < 5; step++) {
        const next = bench.changed(pair);
        if (next.model.shape.length === 0 || elementCount(next.model.shape) > MOST_ELEMENTS) break;
        pair = next;
      }
      const { view, model } = pair;
      assert.deepEqual(view.shape, model.shape, `seed ${seed}`);
      if ("pieces" in view) inPieces++;
      const bytes = await readView(view);
      const { bits } = DTYPES[bench.dtype];
      const found = model.values.map((_, element) => valueIn(bytes, bits, element));
      assert.deepEqual(found, model.values, `seed ${seed}`);
    }
    assert.ok(inPieces > 80, `${inPieces}`);
  });
});
