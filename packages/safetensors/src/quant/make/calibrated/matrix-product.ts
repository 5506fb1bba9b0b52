/** Columns of both operands that are gone through before the next: 128 rows of them stay in a core's second cache. */
const DEPTH = 256;

/**
 * `C -= A * transposed(B)`, where A is `[rows, depth]`, B `[columns, depth]` and C `[rows, columns]`. Each lies in an array
 * from an index on, row by row, with a distance from row to row; both operands are so read along their rows. C may lie in
 * the array of A or B, but not over them.
 */
export function subtractProduct(
  c: Float64Array,
  cAt: number,
  cStride: number,
  a: Float64Array,
  aAt: number,
  aStride: number,
  b: Float64Array,
  bAt: number,
  bStride: number,
  rows: number,
  columns: number,
  depth: number,
): void {
  // Tiles of 4 by 2 are what fits the registers: of 2 by 2, 3 by 3, 4 by 4 and packed operands none is clearly faster.
  const wholeRows = rows - (rows % 4);
  const wholeColumns = columns - (columns % 2);
  for (let from = 0; from < depth; from += DEPTH) {
    const count = Math.min(DEPTH, depth - from);
    for (let i = 0; i < wholeRows; i += 4) {
      const a0 = aAt + i * aStride + from;
      const cRow = cAt + i * cStride;
      for (let j = 0; j < wholeColumns; j += 2) {
        const b0 = bAt + j * bStride + from;
        subtractTile(c, cRow + j, cStride, a, a0, aStride, b, b0, bStride, count);
      }
      if (wholeColumns < columns) {
        const b0 = bAt + wholeColumns * bStride + from;
        for (let row = 0; row < 4; row++)
          c[cRow + row * cStride + wholeColumns]! -= dot(a, a0 + row * aStride, b, b0, count);
      }
    }
    for (let i = wholeRows; i < rows; i++) {
      const a0 = aAt + i * aStride + from;
      for (let j = 0; j < columns; j++)
        c[cAt + i * cStride + j]! -= dot(a, a0, b, bAt + j * bStride + from, count);
    }
  }
}

function subtractTile(
  c: Float64Array,
  cAt: number,
  cStride: number,
  a: Float64Array,
  a0: number,
  aStride: number,
  b: Float64Array,
  b0: number,
  bStride: number,
  count: number,
): void {
  const a1 = a0 + aStride;
  const a2 = a1 + aStride;
  const a3 = a2 + aStride;
  const b1 = b0 + bStride;
  let s00 = 0;
  let s01 = 0;
  let s10 = 0;
  let s11 = 0;
  let s20 = 0;
  let s21 = 0;
  let s30 = 0;
  let s31 = 0;
  for (let k = 0; k < count; k++) {
    const y0 = b[b0 + k]!;
    const y1 = b[b1 + k]!;
    let x = a[a0 + k]!;
    s00 += x * y0;
    s01 += x * y1;
    x = a[a1 + k]!;
    s10 += x * y0;
    s11 += x * y1;
    x = a[a2 + k]!;
    s20 += x * y0;
    s21 += x * y1;
    x = a[a3 + k]!;
    s30 += x * y0;
    s31 += x * y1;
  }
  let at = cAt;
  c[at]! -= s00;
  c[at + 1]! -= s01;
  at += cStride;
  c[at]! -= s10;
  c[at + 1]! -= s11;
  at += cStride;
  c[at]! -= s20;
  c[at + 1]! -= s21;
  at += cStride;
  c[at]! -= s30;
  c[at + 1]! -= s31;
}

/** The sum of the products of `count` elements of each, from an index on. */
export function dot(a: Float64Array, aAt: number, b: Float64Array, bAt: number, count: number): number {
  let sum = 0;
  for (let k = 0; k < count; k++) sum += a[aAt + k]! * b[bAt + k]!;
  return sum;
}
