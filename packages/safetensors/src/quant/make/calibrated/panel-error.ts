import type { IntegerGrid } from "../integer-rules.ts";
import { type Block, type MatrixKernels, WIDE } from "../kernels/matrices.ts";
import type { Panel } from "./grid-panel.ts";
import type { HessianFactor } from "./hessian-factor.ts";
import { takeErrors } from "./sweep.ts";

/** What quantising changes: values less those that codes stand for, into memory of their size. */
export function errorsOf(
  { values, rows, columns }: Panel,
  codes: Uint8Array,
  { scales, zeros }: IntegerGrid,
  groups: number | Int32Array,
  errors: Float64Array,
): Float64Array {
  const size = typeof groups === "number" ? groups : 1;
  for (let row = 0; row < rows; row++) {
    for (let from = 0; from < columns; from += size) {
      const group = typeof groups === "number" ? from / size : groups[from]!;
      const scale = scales[group * rows + row]!;
      const zero = zeros[group * rows + row]!;
      const end = row * columns + Math.min(from + size, columns);
      for (let at = row * columns + from; at < end; at++)
        errors[at] = values[at]! - (codes[at]! - zero) * scale;
    }
  }
  return errors;
}

/** Columns in the order of a factor: the values themselves if they are in their own. */
export function inOrder(values: Float64Array, columns: number, order: Int32Array | undefined): Float64Array {
  if (!order) return values;
  const ordered = new Float64Array(values.length);
  for (let row = 0; row < values.length; row += columns) {
    for (let position = 0; position < columns; position++)
      ordered[row + position] = values[row + order[position]!]!;
  }
  return ordered;
}

/**
 * The squared error of outputs: the sum over all rows e of `e * H * transposed(e)`. With z so that `z * U = e`, and U the
 * factor of the inverse, that is the sum of the squares of z.
 *
 * @param errors of which nothing is left
 */
export function squaredNorm(
  errors: Float64Array,
  rows: number,
  factor: HessianFactor,
  kernels: MatrixKernels,
): number {
  const { size: columns, inverse, order } = factor;
  const own = sumOfSquares(errors);
  const solved: Panel = { values: inOrder(errors, columns, order), rows, columns };
  const { values } = solved;
  for (let from = 0; from < columns; from += WIDE) {
    const width = Math.min(WIDE, columns - from);
    takeErrors(solved, from, from + width, 0, from, factor, kernels);
    const part: Block = { values, at: from, stride: columns };
    const triangle: Block = { values: inverse, at: from * columns + from, stride: columns };
    kernels.divideByTriangle(part, triangle, rows, width);
  }
  return undamped(sumOfSquares(values), own, factor);
}

/** A squared error with the damped Hessian as that with the Hessian itself, with the squares of the errors of the weights. */
export function undamped(squares: number, own: number, { damping }: HessianFactor): number {
  return Math.max(squares - damping * own, 0);
}

/** The sum of the squares of all values. */
export function sumOfSquares(values: Float64Array): number {
  let sum = 0;
  for (let at = 0; at < values.length; at++) sum += values[at]! ** 2;
  return sum;
}
