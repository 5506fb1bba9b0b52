import { codeOf } from "./nearest.ts";

/** A matrix that lies in an array from an index on, row by row, with a distance from row to row. */
export interface Block {
  readonly values: Float64Array;
  readonly at: number;
  readonly stride: number;
}

/** Products of matrices. Each sum of products is added up as `dot` does it, `WIDE` elements at a time. */
export interface MatrixKernels {
  /**
   * `C -= A * transposed(B)`, where A is `[rows, depth]`, B `[columns, depth]` and C `[rows, columns]`; both operands are so
   * read along their rows. C may lie in the array of A or B, but not over them.
   */
  subtractProduct(c: Block, a: Block, b: Block, rows: number, columns: number, depth: number): void;
  /**
   * `X * transposed(inverse(L))` in the place of X, which is `[rows, width]`, with the lower triangle of L. `width` is up to
   * `WIDE`.
   */
  divideByTriangle(x: Block, l: Block, rows: number, width: number): void;
  /**
   * Quantises the columns of X, which is `[rows, width]`, each up to `WIDE`, one after the other: from each element is taken
   * what the errors before it in its row cause, with the lower triangle of L, and in its place is put its error over the
   * diagonal of L.
   *
   * @param grid of each column for each row
   * @param top the last code
   * @param codes `[rows, width]`, to be set
   */
  sweepColumns(
    x: Block,
    l: Block,
    rows: number,
    width: number,
    grid: ColumnGrid,
    top: number,
    codes: Uint8Array,
  ): void;
}

/** `value = (code - zero) * scale` */
export interface ColumnGrid {
  /** `[width, rows]` */
  readonly scales: Float32Array;
  /** `[width, rows]` */
  readonly zeros: Uint8Array;
}

/** The most columns that triangles have, and those of both operands of a product that are gone through before the next. */
export const WIDE = 128;

/** Columns of X that are gone through one by one; what all before them cause is taken at once. */
export const NARROW = 32;

/** In plain JavaScript. */
export const plainMatrices: MatrixKernels = {
  subtractProduct(c, a, b, rows, columns, depth) {
    for (let from = 0; from < depth; from += WIDE) {
      const count = Math.min(WIDE, depth - from);
      for (let i = 0; i < rows; i += 2) {
        for (let j = 0; j < columns; j += 2) {
          const [own, left, right] = [inside(c, i, j), inside(a, i, from), inside(b, j, from)];
          if (i + 1 < rows && j + 1 < columns) subtractTile(own, left, right, count);
          else subtractDots(own, left, right, Math.min(2, rows - i), Math.min(2, columns - j), count);
        }
      }
    }
  },

  divideByTriangle(x, l, rows, width) {
    for (let from = 0; from < width; from += NARROW) {
      const count = Math.min(NARROW, width - from);
      const [own, triangle] = [inside(x, 0, from), inside(l, from, from)];
      plainMatrices.subtractProduct(own, x, inside(l, from, 0), rows, count, from);
      for (let i = 0; i < rows; i++) {
        const row = own.at + i * x.stride;
        for (let j = 0; j < count; j++) {
          const other = triangle.at + j * l.stride;
          const sum = dot(x.values, row, l.values, other, j);
          x.values[row + j] = (x.values[row + j]! - sum) / l.values[other + j]!;
        }
      }
    }
  },

  sweepColumns(x, l, rows, width, { scales, zeros }, top, codes) {
    for (let from = 0; from < width; from += NARROW) {
      const count = Math.min(NARROW, width - from);
      const [own, triangle] = [inside(x, 0, from), inside(l, from, from)];
      plainMatrices.subtractProduct(own, x, inside(l, from, 0), rows, count, from);
      for (let i = 0; i < rows; i++) {
        const row = own.at + i * x.stride;
        for (let j = 0; j < count; j++) {
          const other = triangle.at + j * l.stride;
          const grid = (from + j) * rows + i;
          const scale = scales[grid]!;
          const zero = zeros[grid]!;
          const value = x.values[row + j]! - dot(x.values, row, l.values, other, j);
          const code = codeOf(value, scale, zero, top);
          codes[i * width + from + j] = code;
          x.values[row + j] = (value - (code - zero) * scale) / l.values[other + j]!;
        }
      }
    }
  },
};

/** The part of a matrix that begins at a row and a column. */
export function inside({ values, at, stride }: Block, row: number, column: number): Block {
  return { values, at: at + row * stride + column, stride };
}

function subtractDots(c: Block, a: Block, b: Block, rows: number, columns: number, count: number): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++)
      c.values[c.at + i * c.stride + j]! -= dot(
        a.values,
        a.at + i * a.stride,
        b.values,
        b.at + j * b.stride,
        count,
      );
  }
}

/** Two rows of A and two of B: four sums in two parts each are what fits the registers. */
function subtractTile(
  { values: c, at: cAt, stride: cStride }: Block,
  { values: a, at: a0, stride: aStride }: Block,
  { values: b, at: b0, stride: bStride }: Block,
  count: number,
): void {
  const a1 = a0 + aStride;
  const b1 = b0 + bStride;
  let [e00, e01, e10, e11] = [0, 0, 0, 0];
  let [o00, o01, o10, o11] = [0, 0, 0, 0];
  const whole = count - (count % 2);
  for (let k = 0; k < whole; k += 2) {
    let x0 = a[a0 + k]!;
    let x1 = a[a1 + k]!;
    let y0 = b[b0 + k]!;
    let y1 = b[b1 + k]!;
    e00 += x0 * y0;
    e01 += x0 * y1;
    e10 += x1 * y0;
    e11 += x1 * y1;
    x0 = a[a0 + k + 1]!;
    x1 = a[a1 + k + 1]!;
    y0 = b[b0 + k + 1]!;
    y1 = b[b1 + k + 1]!;
    o00 += x0 * y0;
    o01 += x0 * y1;
    o10 += x1 * y0;
    o11 += x1 * y1;
  }
  if (whole < count) {
    e00 += a[a0 + whole]! * b[b0 + whole]!;
    e01 += a[a0 + whole]! * b[b1 + whole]!;
    e10 += a[a1 + whole]! * b[b0 + whole]!;
    e11 += a[a1 + whole]! * b[b1 + whole]!;
  }
  c[cAt]! -= e00 + o00;
  c[cAt + 1]! -= e01 + o01;
  c[cAt + cStride]! -= e10 + o10;
  c[cAt + cStride + 1]! -= e11 + o11;
}

/**
 * The sum of the products of `count` elements of each, from an index on: those at even places, and those at odd places, which
 * kernels go through side by side.
 */
export function dot(a: Float64Array, aAt: number, b: Float64Array, bAt: number, count: number): number {
  let even = 0;
  let odd = 0;
  const whole = count - (count % 2);
  for (let k = 0; k < whole; k += 2) {
    even += a[aAt + k]! * b[bAt + k]!;
    odd += a[aAt + k + 1]! * b[bAt + k + 1]!;
  }
  if (whole < count) even += a[aAt + whole]! * b[bAt + whole]!;
  return even + odd;
}
