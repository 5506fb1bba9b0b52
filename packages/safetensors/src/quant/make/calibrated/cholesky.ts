import { dot, subtractProduct } from "./matrix-product.ts";

/** Rows and columns of a tile: two of them fit a core's second cache, with room. */
const TILE = 64;

/**
 * The Cholesky factor of a symmetric positive definite matrix, in its place: `A = L * transposed(L)`. Only the lower
 * triangle is read. What is above the diagonal has no meaning afterwards.
 *
 * @param matrix `[size, size]`
 * @returns whether the matrix is positive definite; if not, it is spoilt
 */
export function factorCholesky(matrix: Float64Array, size: number): boolean {
  for (let from = 0; from < size; from += TILE) {
    const width = Math.min(TILE, size - from);
    const at = from * size + from;
    // This tile and those below, less what the columns before account for.
    for (let row = from; row < size; row += TILE) {
      const height = Math.min(TILE, size - row);
      const rowAt = row * size;
      const own = rowAt + from;
      subtractProduct(matrix, own, size, matrix, rowAt, size, matrix, from * size, size, height, width, from);
      if (row === from) {
        if (!factorTile(matrix, at, size, width)) return false;
      } else divideByTile(matrix, own, size, height, matrix, at, size, width);
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
export function invertCholesky(matrix: Float64Array, size: number): void {
  const diagonal = new Float64Array(size);
  // The tile on the diagonal, inverted and transposed: its own place still holds L, which its row of tiles needs.
  const tile = new Float64Array(TILE * TILE);
  for (let from = 0; from < size; from += TILE) {
    const height = Math.min(TILE, size - from);
    tile.fill(0);
    for (let i = 0; i < height; i++) tile[i * TILE + i] = 1;
    divideByTile(tile, 0, TILE, height, matrix, from * size + from, size, height);
    for (let column = from + TILE; column < size; column += TILE) {
      const width = Math.min(TILE, size - column);
      const at = from * size + column;
      for (let i = 0; i < height; i++) matrix.fill(0, at + i * size, at + i * size + width);
      const rowAt = column * size;
      subtractProduct(matrix, at, size, tile, 0, TILE, matrix, rowAt + from, size, height, width, height);
      const next = from + TILE;
      const between = column - next;
      const left = from * size + next;
      subtractProduct(
        matrix,
        at,
        size,
        matrix,
        left,
        size,
        matrix,
        rowAt + next,
        size,
        height,
        width,
        between,
      );
      divideByTile(matrix, at, size, height, matrix, rowAt + column, size, width);
    }
    for (let i = 0; i < height; i++) {
      diagonal[from + i] = tile[i * TILE + i]!;
      for (let j = i + 1; j < height; j++) matrix[(from + i) * size + from + j] = tile[i * TILE + j]!;
    }
  }
  for (let i = 0; i < size; i++) matrix[i * size + i] = diagonal[i]!;
}

/** The Cholesky factor of one tile; false at a pivot that is not positive. */
function factorTile(matrix: Float64Array, at: number, stride: number, width: number): boolean {
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

/** `X * transposed(inverse(L))` in the place of X, with the lower triangle of a tile as L. */
function divideByTile(
  x: Float64Array,
  xAt: number,
  xStride: number,
  rows: number,
  lower: Float64Array,
  at: number,
  stride: number,
  width: number,
): void {
  for (let i = 0; i < rows; i++) {
    const row = xAt + i * xStride;
    for (let j = 0; j < width; j++) {
      const other = at + j * stride;
      x[row + j] = (x[row + j]! - dot(x, row, lower, other, j)) / lower[other + j]!;
    }
  }
}
