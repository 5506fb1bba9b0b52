import type { IntegerGrid } from "../integer-rules.ts";
import type { Panel } from "./grid-panel.ts";
import type { HessianFactor } from "./hessian-factor.ts";
import { dot } from "./matrix-product.ts";
import { BLOCK, takeErrors } from "./sweep.ts";

/** What quantising changes: values less those that codes stand for. */
export function errorsOf(
  { values, rows, columns }: Panel,
  codes: Uint8Array,
  { scales, zeros }: IntegerGrid,
  groups: number | Int32Array,
): Float64Array {
  const errors = new Float64Array(values.length);
  for (let column = 0; column < columns; column++) {
    const group = typeof groups === "number" ? Math.floor(column / groups) : groups[column]!;
    for (let row = 0; row < rows; row++) {
      const at = row * columns + column;
      const grid = group * rows + row;
      errors[at] = values[at]! - (codes[at]! - zeros[grid]!) * scales[grid]!;
    }
  }
  return errors;
}

/** Columns in the order of a factor. */
export function inOrder(values: Float64Array, columns: number, order: Int32Array | undefined): Float64Array {
  if (!order) return values.slice();
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
 */
export function squaredNorm(errors: Float64Array, rows: number, factor: HessianFactor): number {
  const { size: columns, inverse, order } = factor;
  const solved: Panel = { values: inOrder(errors, columns, order), rows, columns };
  const { values } = solved;
  let squares = 0;
  for (let from = 0; from < columns; from += BLOCK) {
    const to = Math.min(from + BLOCK, columns);
    takeErrors(solved, from, to, 0, from, factor);
    for (let position = from; position < to; position++) {
      const causes = position * columns + from;
      const pivot = inverse[position * columns + position]!;
      for (let at = 0; at < values.length; at += columns) {
        const sum = dot(values, at + from, inverse, causes, position - from);
        const value = (values[at + position]! - sum) / pivot;
        values[at + position] = value;
        squares += value * value;
      }
    }
  }
  return undamped(squares, errors, factor);
}

/** A squared error with the damped Hessian as that with the Hessian itself. */
export function undamped(squares: number, errors: Float64Array, { damping }: HessianFactor): number {
  return Math.max(squares - damping * errors.reduce((sum, error) => sum + error * error, 0), 0);
}
