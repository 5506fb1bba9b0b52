import { type Block, dot, inside, type MatrixKernels, WIDE } from "../kernels/matrices.ts";

/**
 * The Cholesky factor of a symmetric positive definite matrix, in its place: `A = L * transposed(L)`. Only the lower
 * triangle is read. What is above the diagonal has no meaning afterwards.
 *
 * @param matrix `[size, size]`
 * @returns whether the matrix is positive definite; if not, it is spoilt
 */
export function factorCholesky(matrix: Float64Array, size: number, kernels: MatrixKernels): boolean {
  const block = (row: number, column: number): Block =>
    inside({ values: matrix, at: 0, stride: size }, row, column);
  for (let from = 0; from < size; from += WIDE) {
    const width = Math.min(WIDE, size - from);
    // This tile and those below, less what the columns before account for.
    for (let row = from; row < size; row += WIDE) {
      const height = Math.min(WIDE, size - row);
      kernels.subtractProduct(block(row, from), block(row, 0), block(from, 0), height, width, from);
      if (row > from) kernels.divideByTriangle(block(row, from), block(from, from), height, width);
      else if (!factorTile(block(from, from), width)) return false;
    }
  }
  return true;
}

/**
 * `transposed(inverse(L))` into the upper triangle and the diagonal, of the L that lies in the lower triangle and the
 * diagonal. Below the diagonal L is left as it is.
 *
 * @param matrix `[size, size]`
 */
export function invertCholesky(matrix: Float64Array, size: number, kernels: MatrixKernels): void {
  const block = (row: number, column: number): Block =>
    inside({ values: matrix, at: 0, stride: size }, row, column);
  const diagonal = new Float64Array(size);
  // The tile on the diagonal, inverted and transposed: its own place still holds L, which its row of tiles needs.
  const tile = new Float64Array(WIDE * WIDE);
  const inverse: Block = { values: tile, at: 0, stride: WIDE };
  for (let from = 0; from < size; from += WIDE) {
    const height = Math.min(WIDE, size - from);
    tile.fill(0);
    for (let i = 0; i < height; i++) tile[i * WIDE + i] = 1;
    kernels.divideByTriangle(inverse, block(from, from), height, height);
    const next = from + WIDE;
    for (let column = next; column < size; column += WIDE) {
      const width = Math.min(WIDE, size - column);
      const own = block(from, column);
      for (let i = 0; i < height; i++) matrix.fill(0, own.at + i * size, own.at + i * size + width);
      kernels.subtractProduct(own, inverse, block(column, from), height, width, height);
      kernels.subtractProduct(own, block(from, next), block(column, next), height, width, column - next);
      kernels.divideByTriangle(own, block(column, column), height, width);
    }
    for (let i = 0; i < height; i++) {
      diagonal[from + i] = tile[i * WIDE + i]!;
      for (let j = i + 1; j < height; j++) matrix[(from + i) * size + from + j] = tile[i * WIDE + j]!;
    }
  }
  for (let i = 0; i < size; i++) matrix[i * size + i] = diagonal[i]!;
}

/** The Cholesky factor of one tile; false at a pivot that is not positive. */
function factorTile({ values: matrix, at, stride }: Block, width: number): boolean {
  for (let i = 0; i < width; i++) {
    const row = at + i * stride;
    for (let j = 0; j < i; j++) {
      const other = at + j * stride;
      matrix[row + j] = (matrix[row + j]! - dot(matrix, row, matrix, other, j)) / matrix[other + j]!;
    }
    const pivot = matrix[row + i]! - dot(matrix, row, matrix, row, i);
    if (!(pivot > 0 && pivot < Number.POSITIVE_INFINITY)) return false;
    matrix[row + i] = Math.sqrt(pivot);
  }
  return true;
}
