import type { IntegerGrid } from "../integer-rules.ts";
import type { Block, MatrixKernels } from "../kernels/matrices.ts";
import type { Panel } from "./grid-panel.ts";
import type { HessianFactor } from "./hessian-factor.ts";

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
  kernels: MatrixKernels,
): void {
  const errors: Block = { values, at: first, stride: columns };
  const causes: Block = { values: inverse, at: from * columns + first, stride: columns };
  kernels.subtractProduct(
    { values, at: from, stride: columns },
    errors,
    causes,
    rows,
    to - from,
    last - first,
  );
}

/**
 * Quantises the columns `from` to `to`, up to `WIDE`, one after the other, and puts in the place of each its error over
 * U[j, j]: that is what following columns need of it.
 *
 * @param groups of the inputs in their own order, as are the codes
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
  kernels: MatrixKernels,
): void {
  const width = to - from;
  const inputs = Array.from({ length: width }, (_, i) => (order ? order[from + i]! : from + i));
  const grid = { scales: new Float32Array(width * rows), zeros: new Uint8Array(width * rows) };
  for (const [i, input] of inputs.entries()) {
    const group = typeof groups === "number" ? Math.floor(input / groups) : groups[input]!;
    grid.scales.set(scales.subarray(group * rows, (group + 1) * rows), i * rows);
    grid.zeros.set(zeros.subarray(group * rows, (group + 1) * rows), i * rows);
  }
  const own: Block = { values, at: from, stride: columns };
  const causes: Block = { values: inverse, at: from * columns + from, stride: columns };
  const found = new Uint8Array(rows * width);
  kernels.sweepColumns(own, causes, rows, width, grid, 2 ** bits - 1, found);
  for (let row = 0; row < rows; row++)
    for (let i = 0; i < width; i++) codes[row * columns + inputs[i]!] = found[row * width + i]!;
}
