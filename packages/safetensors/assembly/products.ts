// Products of matrices of doubles that lie row by row. A sum of products has two parts, of the elements at even and at odd
// places, which are added at the end.

/** Bytes from row to row of all matrices, those of 128 doubles: a constant, so that rows need no addresses of their own. */
const ROW: usize = 1024;

/**
 * `C -= A * transposed(B)`, where A is `[rows, depth]`, B `[columns, depth]` and C `[rows, columns]`. `rows` goes up to the next
 * multiple of 4, `columns` and `depth` to that of 2.
 */
export function subtractProduct(c: usize, a: usize, b: usize, rows: usize, columns: usize, depth: usize): void {
  for (let row: usize = 0; row < rows; row += 4, a += ROW * 4, c += ROW * 4) {
    let other = b;
    for (let column: usize = 0; column < columns; column += 2, other += ROW * 2)
      subtractTile(c + column * 8, a, other, depth);
  }
}

/** Four rows of A and two of B: their sums and operands fit the registers, those of two steps at a time or of more rows do not. */
// @ts-ignore: decorator
@inline
function subtractTile(c: usize, a: usize, b: usize, depth: usize): void {
  let s00 = f64x2.splat(0);
  let s01 = s00;
  let s10 = s00;
  let s11 = s00;
  let s20 = s00;
  let s21 = s00;
  let s30 = s00;
  let s31 = s00;
  for (const end = a + depth * 8; a < end; a += 16, b += 16) {
    const y0 = v128.load(b);
    const y1 = v128.load(b, ROW);
    let x = v128.load(a);
    s00 = f64x2.add(s00, f64x2.mul(x, y0));
    s01 = f64x2.add(s01, f64x2.mul(x, y1));
    x = v128.load(a, ROW);
    s10 = f64x2.add(s10, f64x2.mul(x, y0));
    s11 = f64x2.add(s11, f64x2.mul(x, y1));
    x = v128.load(a, ROW * 2);
    s20 = f64x2.add(s20, f64x2.mul(x, y0));
    s21 = f64x2.add(s21, f64x2.mul(x, y1));
    x = v128.load(a, ROW * 3);
    s30 = f64x2.add(s30, f64x2.mul(x, y0));
    s31 = f64x2.add(s31, f64x2.mul(x, y1));
  }
  subtractSums(c, s00, s01);
  subtractSums(c + ROW, s10, s11);
  subtractSums(c + ROW * 2, s20, s21);
  subtractSums(c + ROW * 3, s30, s31);
}

/** Takes two sums, in two parts each, from two neighbours. */
// @ts-ignore: decorator
@inline
function subtractSums(c: usize, first: v128, second: v128): void {
  const sums = f64x2.add(v128.shuffle<u64>(first, second, 0, 2), v128.shuffle<u64>(first, second, 1, 3));
  v128.store(c, f64x2.sub(v128.load(c), sums));
}

/**
 * `X * transposed(inverse(L))` in the place of X, which is `[rows, width]`, with the lower triangle of L. `rows` goes up to the
 * next multiple of 4.
 */
export function divideByTriangle(x: usize, rows: usize, l: usize, width: usize): void {
  for (let row: usize = 0; row < rows; row += 4, x += ROW * 4) {
    let other = l;
    for (let column: usize = 0; column < width; column++, other += ROW) divideFour(x, other, column);
  }
}

/**
 * Quantises the columns of X one after the other: from each element is taken what the errors before it cause, by the lower
 * triangle of L, its code is chosen, and its error over the diagonal of L is put in its place. `rows` goes up to the next multiple
 * of 4.
 *
 * @param scales floats `[width, gridStride]`, of each column for each row
 * @param zeros bytes, as `scales`
 * @param codes bytes `[rows, codesStride]`
 */
export function sweepColumns(
  x: usize,
  rows: usize,
  l: usize,
  width: usize,
  scales: usize,
  zeros: usize,
  gridStride: usize,
  top: f64,
  codes: usize,
  codesStride: usize,
): void {
  for (let row: usize = 0; row < rows; row += 4, x += ROW * 4, codes += codesStride * 4) {
    let other = l;
    let grid = row;
    for (let column: usize = 0; column < width; column++, other += ROW, grid += gridStride) {
      const at = column * 8;
      const pivot = load<f64>(other + at);
      lessProducts(x, other, column);
      for (let i: usize = 0; i < 4; i++) {
        const place = x + i * ROW + at;
        const value = load<f64>(place);
        const scale = <f64>load<f32>(scales + (grid + i) * 4);
        const zero = <f64>load<u8>(zeros + grid + i);
        let code = zero;
        if (scale != 0) code = min<f64>(max<f64>(nearest<f64>(value / scale) + zero, 0), top);
        store<u8>(codes + i * codesStride + column, <u8>(<i32>code));
        store<f64>(place, (value - (code - zero) * scale) / pivot);
      }
    }
  }
}

/** The elements in one column of four rows; so many are before it. */
// @ts-ignore: decorator
@inline
function divideFour(x: usize, l: usize, count: usize): void {
  lessProducts(x, l, count);
  const pivot = load<f64>(l + count * 8);
  for (let i: usize = 0, place = x + count * 8; i < 4; i++, place += ROW)
    store<f64>(place, load<f64>(place) / pivot);
}

/** Takes from the elements in one column of four rows the products of those before with a row of L. */
// @ts-ignore: decorator
@inline
function lessProducts(x: usize, l: usize, count: usize): void {
  let s0 = f64x2.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  for (const end = l + (count & ~1) * 8; l < end; l += 16, x += 16) {
    const y = v128.load(l);
    s0 = f64x2.add(s0, f64x2.mul(v128.load(x), y));
    s1 = f64x2.add(s1, f64x2.mul(v128.load(x, ROW), y));
    s2 = f64x2.add(s2, f64x2.mul(v128.load(x, ROW * 2), y));
    s3 = f64x2.add(s3, f64x2.mul(v128.load(x, ROW * 3), y));
  }
  if (count & 1) {
    // An even place: nothing is added to the other part.
    const y = v128.load64_zero(l);
    s0 = f64x2.add(s0, f64x2.mul(v128.load64_zero(x), y));
    s1 = f64x2.add(s1, f64x2.mul(v128.load64_zero(x, ROW), y));
    s2 = f64x2.add(s2, f64x2.mul(v128.load64_zero(x, ROW * 2), y));
    s3 = f64x2.add(s3, f64x2.mul(v128.load64_zero(x, ROW * 3), y));
    x += 8;
  }
  subtractSum(x, s0);
  subtractSum(x + ROW, s1);
  subtractSum(x + ROW * 2, s2);
  subtractSum(x + ROW * 3, s3);
}

// @ts-ignore: decorator
@inline
function subtractSum(x: usize, sums: v128): void {
  store<f64>(x, load<f64>(x) - (f64x2.extract_lane(sums, 0) + f64x2.extract_lane(sums, 1)));
}
