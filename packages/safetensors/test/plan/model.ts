import assert from "node:assert/strict";
import { DTYPES, type Dtype, elementCount } from "../../src/dtype/dtype.ts";
import type { ByteSource } from "../../src/source/source.ts";
import type { IndexItem } from "../../src/view/index-items.ts";
import { sliceView } from "../../src/view/slice.ts";
import { joinPieces, type Piece, piecesOf, type TensorView } from "../../src/view/tiling.ts";
import { contiguousStrides, type StridedView } from "../../src/view/view.ts";
import { numbers } from "../support.ts";

/** A source, and the bytes that it holds. */
export interface Held {
  readonly source: ByteSource;
  readonly bytes: Uint8Array;
}

/** All indices of a shape in row-major order. */
export function* indices(shape: readonly number[]): Generator<readonly number[]> {
  if (shape.includes(0)) return;
  const index = shape.map(() => 0);
  for (;;) {
    yield index;
    let axis = shape.length - 1;
    while (axis >= 0 && ++index[axis]! === shape[axis]) index[axis--] = 0;
    if (axis < 0) return;
  }
}

/** The packed bytes of a tensor, bit by bit: the definition. Bits behind the last element are zero. */
export function packed(view: TensorView, bytesOf: (source: ByteSource) => Uint8Array): Uint8Array {
  const { bits } = DTYPES[view.dtype];
  const strides = contiguousStrides(view.shape);
  const out = new Uint8Array(Math.ceil((elementCount(view.shape) * bits) / 8));
  let elements = 0;
  for (const { view: piece, at } of piecesOf(view)) {
    const bytes = bytesOf(piece.source);
    for (const index of indices(piece.shape)) {
      let from = piece.bitOffset;
      let to = 0;
      for (const [axis, i] of index.entries()) {
        from += i * piece.strides[axis]! * bits;
        to += (at[axis]! + i) * strides[axis]! * bits;
      }
      for (let bit = 0; bit < bits; bit++, from++, to++)
        out[Math.floor(to / 8)]! |= ((bytes[Math.floor(from / 8)]! >> (from % 8)) & 1) << (to % 8);
      elements++;
    }
  }
  assert.equal(elements, elementCount(view.shape), "the pieces do not cover the whole");
  return out;
}

/** Random choices that are the same for the same seed. */
export class Draw {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = numbers(seed);
  }

  /** A whole number from `min` to `max`. */
  int(min: number, max: number): number {
    return min + (this.#next() % (max - min + 1));
  }

  flip(): boolean {
    return this.int(0, 1) === 1;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.int(0, values.length - 1)]!;
  }
}

const DRAWN_DTYPES: readonly Dtype[] = ["F4", "F6_E3M2", "U8", "BF16", "F32", "I64", "C64"];

/** Bytes that a source must have so that every strided view drawn fits into it. */
export const ENOUGH_BYTES = 2400;

/** A tensor of any layout: strided, sliced, in pieces over several sources. */
export function drawView(draw: Draw, sources: readonly ByteSource[]): TensorView {
  const dtype = draw.pick(DRAWN_DTYPES);
  const shape = Array.from({ length: draw.int(0, 4) }, () => draw.int(draw.int(0, 9) === 0 ? 0 : 1, 4));
  const whole = draw.flip()
    ? drawStrided(draw, sources, dtype, shape)
    : drawTiling(draw, sources, dtype, shape);
  return draw.flip() ? sliceView(whole, drawIndex(draw, shape)) : whole;
}

function drawStrided(
  draw: Draw,
  sources: readonly ByteSource[],
  dtype: Dtype,
  shape: readonly number[],
): StridedView {
  const { bits } = DTYPES[dtype];
  const source = draw.pick(sources);
  const strides = draw.flip() ? contiguousStrides(shape) : shape.map(() => draw.int(-9, 9));
  const reach = shape.map((size, axis) => Math.max(size - 1, 0) * strides[axis]! * bits);
  const below = reach.reduce((sum, bits) => sum - Math.min(bits, 0), 0);
  const above = reach.reduce((sum, bits) => sum + Math.max(bits, 0), 0);
  const room = source.size * 8 - below - above - bits;
  assert.ok(room >= 0, "the source is too small for this test");
  // Elements of less than a byte may lie at any bit.
  const unit = bits < 8 ? 1 : 8;
  const start = draw.int(0, Math.min(Math.floor(room / unit), 200)) * unit;
  return { source, dtype, shape, strides, bitOffset: below + start };
}

/** Cuts a shape into boxes, each of which lies somewhere else. */
function drawTiling(
  draw: Draw,
  sources: readonly ByteSource[],
  dtype: Dtype,
  shape: readonly number[],
): TensorView {
  let boxes = [{ at: shape.map(() => 0), shape: shape.slice() }];
  for (let axis = 0; axis < shape.length; axis++) {
    boxes = boxes.flatMap((box) => {
      const size = box.shape[axis]!;
      if (size < 2 || draw.flip()) return [box];
      const first = draw.int(1, size - 1);
      const second = box.at.with(axis, box.at[axis]! + first);
      return [
        { at: box.at, shape: box.shape.with(axis, first) },
        { at: second, shape: box.shape.with(axis, size - first) },
      ];
    });
  }
  const pieces: Piece[] = boxes.map(({ at, shape }) => ({
    at,
    view: drawStrided(draw, sources, dtype, shape),
  }));
  return joinPieces(dtype, shape, pieces);
}

function drawIndex(draw: Draw, shape: readonly number[]): IndexItem[] {
  const rows = draw.int(0, 4);
  return shape.flatMap((size): IndexItem[] => {
    const items: IndexItem[] = [null, { step: draw.int(0, 1) === 0 ? 2 : -1 }, { start: draw.int(-3, 3) }];
    const more: IndexItem[] = [
      draw.int(-size, Math.max(size - 1, -size)),
      Array.from({ length: rows }, () => draw.int(-size, Math.max(size - 1, -size))),
    ];
    const item = draw.pick(size > 0 ? [...items, ...more] : items);
    return draw.int(0, 9) === 0 ? [item, "newaxis"] : [item];
  });
}
