import { dot, subtractProduct } from "./matrix-product.ts";

/** Rows of the Hessian that are brought to 64 bits together. */
const BLOCK = 32;

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
): Float64Array {
  const part = new Float64Array(BLOCK * size);
  const products = new Float64Array(rows * BLOCK);
  const sums = new Float64Array(rows);
  for (let from = 0; from < size; from += BLOCK) {
    const width = Math.min(BLOCK, size - from);
    // What lies left of the diagonal counts twice, for the half above it; so the diagonal itself counts half.
    for (let i = 0; i < width; i++) {
      const row = (from + i) * size;
      part.set(hessian.subarray(row, row + from + i), i * size);
      part[i * size + from + i] = hessian[row + from + i]! / 2;
      part.fill(0, i * size + from + i + 1, i * size + from + width);
    }
    products.fill(0);
    subtractProduct(products, 0, BLOCK, errors, 0, size, part, 0, size, rows, width, from + width);
    for (let row = 0; row < rows; row++)
      sums[row]! -= 2 * dot(products, row * BLOCK, errors, row * size + from, width);
  }
  return sums;
}
