// Codes that lie column by column: four rows side by side in a vector, of which each word has several columns.

const CODE = memory.data<u32>([15, 15, 15, 15]);

/** Rows that share the cache lines of the words. */
const PANEL: usize = 16;

/**
 * Codes of 4 bits. `rows`, from the address of the words on, is a multiple of 4; `group` and `columns` are multiples of 8.
 * Scales and zeros, both floats, are `scaleStride` apart from group to group.
 */
export function kMajor4(
  words: usize,
  wordStride: usize,
  scales: usize,
  zeros: usize,
  scaleStride: usize,
  out: usize,
  rows: usize,
  columns: usize,
  group: usize,
): void {
  const rowBytes = columns * 4;
  for (let top: usize = 0; top < rows; top += PANEL) {
    const bottom = min(top + PANEL, rows);
    let scale = top * 4;
    for (let left: usize = 0; left < columns; left += group, scale += scaleStride) {
      const right = min(left + group, columns);
      for (let row = top; row < bottom; row += 4) {
        const at = scale + (row - top) * 4;
        const s = v128.load(scales + at);
        const z = v128.load(zeros + at);
        let word = words + row * 4 + (left >> 3) * wordStride;
        let to = out + row * rowBytes + left * 4;
        const code = v128.load(CODE);
        for (const last = out + row * rowBytes + right * 4; to < last; to += 32, word += wordStride) {
          const codes = v128.load(word);
          storeTurned(
            to,
            rowBytes,
            value(v128.and(codes, code), z, s),
            value(v128.and(i32x4.shr_u(codes, 4), code), z, s),
            value(v128.and(i32x4.shr_u(codes, 8), code), z, s),
            value(v128.and(i32x4.shr_u(codes, 12), code), z, s),
          );
          storeTurned(
            to + 16,
            rowBytes,
            value(v128.and(i32x4.shr_u(codes, 16), code), z, s),
            value(v128.and(i32x4.shr_u(codes, 20), code), z, s),
            value(v128.and(i32x4.shr_u(codes, 24), code), z, s),
            value(i32x4.shr_u(codes, 28), z, s),
          );
        }
      }
    }
  }
}

/** Columns that are done for all rows of a panel before the next ones, so that their words stay in the cache. */
const SPAN: usize = 128;

/** The same for codes of any bits, in a dense stream, and with the group of each column listed; any number of columns. */
export function kMajor(
  words: usize,
  wordStride: usize,
  bits: usize,
  scales: usize,
  zeros: usize,
  scaleStride: usize,
  groups: usize,
  out: usize,
  rows: usize,
  columns: usize,
): void {
  const rowBytes = columns * 4;
  const mask = i32x4.splat((1 << bits) - 1);
  for (let top: usize = 0; top < rows; top += PANEL) {
    const bottom = min(top + PANEL, rows);
    for (let left: usize = 0; left < columns; left += SPAN) {
      const right = min(left + SPAN, columns);
      for (let row = top; row < bottom; row += 4) {
        const at = row * 4;
        const to = out + row * rowBytes;
        let column = left;
        for (; column + 4 <= right; column += 4) {
          storeTurned(
            to + column * 4,
            rowBytes,
            listed(words + at, wordStride, bits, mask, scales + at, zeros + at, scaleStride, groups, column),
            listed(words + at, wordStride, bits, mask, scales + at, zeros + at, scaleStride, groups, column + 1),
            listed(words + at, wordStride, bits, mask, scales + at, zeros + at, scaleStride, groups, column + 2),
            listed(words + at, wordStride, bits, mask, scales + at, zeros + at, scaleStride, groups, column + 3),
          );
        }
        for (; column < right; column++) {
          const four = listed(
            words + at, wordStride, bits, mask, scales + at, zeros + at, scaleStride, groups, column,
          );
          v128.store32_lane(to + column * 4, four, 0);
          v128.store32_lane(to + column * 4 + rowBytes, four, 1);
          v128.store32_lane(to + column * 4 + rowBytes * 2, four, 2);
          v128.store32_lane(to + column * 4 + rowBytes * 3, four, 3);
        }
      }
    }
  }
}

/** The values of four rows in one column. */
// @ts-ignore: decorator
@inline
function listed(
  words: usize,
  wordStride: usize,
  bits: usize,
  mask: v128,
  scales: usize,
  zeros: usize,
  scaleStride: usize,
  groups: usize,
  column: usize,
): v128 {
  const bit = column * bits;
  const shift = <i32>(bit & 31);
  const word = words + (bit >> 5) * wordStride;
  let codes = i32x4.shr_u(v128.load(word), shift);
  if (shift + <i32>bits > 32) codes = v128.or(codes, i32x4.shl(v128.load(word + wordStride), 32 - shift));
  const scale = <usize>load<u32>(groups + column * 4) * scaleStride;
  return value(v128.and(codes, mask), v128.load(zeros + scale), v128.load(scales + scale));
}

// @ts-ignore: decorator
@inline
function value(codes: v128, z: v128, s: v128): v128 {
  return f32x4.mul(f32x4.sub(f32x4.convert_i32x4_s(codes), z), s);
}

/** Four columns as four rows. */
// @ts-ignore: decorator
@inline
function storeTurned(out: usize, rowBytes: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab = v128.shuffle<u32>(a, b, 0, 4, 1, 5);
  const cd = v128.shuffle<u32>(c, d, 0, 4, 1, 5);
  const abEnd = v128.shuffle<u32>(a, b, 2, 6, 3, 7);
  const cdEnd = v128.shuffle<u32>(c, d, 2, 6, 3, 7);
  v128.store(out, v128.shuffle<u64>(ab, cd, 0, 2));
  v128.store(out + rowBytes, v128.shuffle<u64>(ab, cd, 1, 3));
  v128.store(out + rowBytes * 2, v128.shuffle<u64>(abEnd, cdEnd, 0, 2));
  v128.store(out + rowBytes * 3, v128.shuffle<u64>(abEnd, cdEnd, 1, 3));
}
