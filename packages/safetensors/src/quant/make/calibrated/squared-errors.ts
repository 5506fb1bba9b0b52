import { dot, WIDE } from "../kernels/matrices.ts";
import { plainQuantizeKernels, type QuantizeKernels } from "../kernels/quantize-kernels.ts";

/**
 * The squared error of each output that errors of its weights make: `e * H * transposed(e)` for each row e. Only the lower
 * triangle of H is read.
 *
 * @param errors `[rows, size]`
 * @param hessian `[size, size]`: the sum of the products of the inputs
 * @returns `[rows]`
 */
export function squaredErrors(
  errors: Float64Array,
  rows: number,
  hessian: Float32Array | Float64Array,
  size: number,
  { matrices }: QuantizeKernels = plainQuantizeKernels,
): Float64Array {
  const part = new Float64Array(WIDE * size);
  const products = new Float64Array(rows * WIDE);
  const sums = new Float64Array(rows);
  for (let from = 0; from < size; from += WIDE) {
    const width = Math.min(WIDE, size - from);
    // What lies left of the diagonal counts twice, for the half above it; so the diagonal itself counts half.
    for (let i = 0; i < width; i++) {
      const row = (from + i) * size;
      part.set(hessian.subarray(row, row + from + i), i * size);
      part[i * size + from + i] = hessian[row + from + i]! / 2;
      part.fill(0, i * size + from + i + 1, i * size + from + width);
    }
    products.fill(0);
    matrices.subtractProduct(
      { values: products, at: 0, stride: WIDE },
      { values: errors, at: 0, stride: size },
      { values: part, at: 0, stride: size },
      rows,
      width,
      from + width,
    );
    for (let row = 0; row < rows; row++)
      sums[row]! -= 2 * dot(products, row * WIDE, errors, row * size + from, width);
  }
  return sums;
}
