import type { IntegerGrid } from "../integer-rules.ts";
import { codeOf } from "./grid.ts";
import type { Panel } from "./grid-panel.ts";
import type { HessianFactor } from "./hessian-factor.ts";
import { dot, subtractProduct } from "./matrix-product.ts";

/** Columns that are swept one by one; what all before them cause is taken at once. */
export const BLOCK = 32;

/**
 * Takes from the columns `from` to `to` what the errors in the columns `first` to `last`, which are before them, cause.
 * Columns are in the order of the factor.
 */
export function takeErrors(
  { values, rows, columns }: Panel,
  from: number,
  to: number,
  first: number,
  last: number,
  { inverse }: HessianFactor,
): void {
  const depth = last - first;
  const causes = from * columns + first;
  const width = to - from;
  subtractProduct(
    values,
    from,
    columns,
    values,
    first,
    columns,
    inverse,
    causes,
    columns,
    rows,
    width,
    depth,
  );
}

/**
 * Quantises the columns `from` to `to` one after the other, and puts in the place of each its error over U[j, j]: that is what
 * following columns need of it.
 *
 * @param groups of the inputs in their own order, as are the codes
 * @returns the sum of the squares of what was put there
 */
export function sweepBlock(
  { values, rows, columns }: Panel,
  from: number,
  to: number,
  { inverse, order }: HessianFactor,
  bits: number,
  { scales, zeros }: IntegerGrid,
  groups: number | Int32Array,
  codes: Uint8Array,
): number {
  const top = 2 ** bits - 1;
  let squares = 0;
  for (let position = from; position < to; position++) {
    const input = order ? order[position]! : position;
    const group = typeof groups === "number" ? Math.floor(input / groups) : groups[input]!;
    const causes = position * columns + from;
    const pivot = inverse[position * columns + position]!;
    for (let row = 0; row < rows; row++) {
      const at = row * columns;
      const scale = scales[group * rows + row]!;
      const zero = zeros[group * rows + row]!;
      const value = values[at + position]! - dot(values, at + from, inverse, causes, position - from);
      const code = codeOf(value, scale, zero, top);
      const error = (value - (code - zero) * scale) / pivot;
      codes[at + input] = code;
      values[at + position] = error;
      squares += error * error;
    }
  }
  return squares;
}
