import type { Dtype } from "../dtype/dtype.ts";
import { SafetensorsError } from "../errors.ts";
import { fromBytes } from "../source/memory.ts";
import { concatViews } from "./concat.ts";
import { sliceView } from "./slice.ts";
import type { TensorView } from "./tiling.ts";

/**
 * Indices of an axis, as in Python: from `start`, before `stop`, and of these every `step`-th (each, if not given).
 */
export interface CutRange {
  readonly start: number;
  readonly stop: number;
  readonly step?: number;
}

/** What is taken of one axis: some ranges, one after the other, and then so many indices of zeros. */
export interface AxisCut {
  readonly axis: number;
  readonly ranges: readonly CutRange[];
  readonly padding?: number;
}

/**
 * What one rank has of a tensor: a part of each of these axes, which are different ones. None: the whole tensor.
 */
export type Cut = readonly AxisCut[];

/** The cut that leaves a tensor whole. */
export const WHOLE: Cut = [];

/** Number of indices in a range. */
export function rangeLength({ start, stop, step = 1 }: CutRange): number {
  return Math.max(0, Math.ceil((stop - start) / step));
}

/**
 * Shape of what a cut takes of a tensor of this shape.
 *
 * @throws `INVALID_SLICE` for a cut that is not one of such a tensor
 */
export function cutShape(shape: readonly number[], cut: Cut): number[] {
  const result = [...shape];
  const seen = new Set<number>();
  for (const { axis, ranges, padding = 0 } of cut) {
    const size = shape[axis];
    if (size === undefined || seen.has(axis)) throw problem(`[${shape}] has no axis ${axis} left to cut`);
    seen.add(axis);
    for (const range of ranges) {
      const { start, stop, step = 1 } = range;
      const areCounts = [start, stop, step, padding].every((n) => Number.isSafeInteger(n) && n >= 0);
      if (areCounts && step > 0 && start <= stop && stop <= size) continue;
      throw problem(`${start}:${stop}:${step} is no part of axis ${axis} of a tensor of shape [${shape}]`);
    }
    result[axis] = ranges.reduce((sum, range) => sum + rangeLength(range), padding);
  }
  return result;
}

/**
 * The part of a view that a cut takes. Nothing is read.
 *
 * @throws `INVALID_SLICE` for a cut that is not one of such a tensor, and for padding of a dtype that has no zero
 */
export function cutView(view: TensorView, cut: Cut): TensorView {
  cutShape(view.shape, cut);
  let result = view;
  for (const { axis, ranges, padding = 0 } of cut) {
    const before = result.shape.slice(0, axis).map(() => null);
    const parts = (ranges.length > 0 ? ranges : [{ start: 0, stop: 0 }]).map((range) => {
      return sliceView(result, [...before, range]);
    });
    if (padding > 0) parts.push(zeros(result.dtype, result.shape.with(axis, padding)));
    result = parts.length === 1 ? parts[0]! : concatViews(parts, axis);
  }
  return result;
}

/** Eight bytes of zero: one element of any dtype, which strides of zero repeat. */
const ZERO = fromBytes(new Uint8Array(8), "zeros");

function zeros(dtype: Dtype, shape: readonly number[]): TensorView {
  if (dtype === "F8_E8M0") throw problem("F8_E8M0 has no zero to pad with");
  return { source: ZERO, dtype, shape, strides: shape.map(() => 0), bitOffset: 0 };
}

function problem(text: string): SafetensorsError {
  return new SafetensorsError("INVALID_SLICE", text);
}
