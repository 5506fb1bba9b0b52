import { LOWER_HALVES, storeDifferences } from "./lanes";

// 4-bit codes that lie column by column, eight rows in a word. The words of 16 columns are turned into four vectors, each
// of which has one byte of all: the codes of two rows, 16 columns each.

/** Words that are next to each other, so that the cache lines of a group of columns are used whole. */
const PANEL: usize = 16;

/** `rows` is a multiple of 8, `columns` and `group` of 16. Scales and zeros are both floats. */
export function awq4(
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
  for (let top: usize = 0; top < rows / 8; top += PANEL) {
    const bottom = min(top + PANEL, rows / 8);
    let scale: usize = 0;
    for (let left: usize = 0; left < columns; left += group, scale += scaleStride) {
      const right = min(left + group, columns);
      for (let word = top; word < bottom; word++) {
        const place = out + word * 8 * rowBytes;
        const s = scales + scale + word * 32;
        const z = zeros + scale + word * 32;
        for (let column = left; column < right; column += 16) {
          storeRows(words + column * wordStride + word * 4, wordStride, s, z, place + column * 4, rowBytes);
        }
      }
    }
  }
}

/** 16 columns of eight rows. */
// @ts-ignore: decorator
@inline
function storeRows(word: usize, stride: usize, s: usize, z: usize, out: usize, rowBytes: usize): void {
  const a = planesOf(word, stride);
  const b = planesOf(word + 4 * stride, stride);
  const c = planesOf(word + 8 * stride, stride);
  const d = planesOf(word + 12 * stride, stride);
  const ab = v128.shuffle<u32>(a, b, 0, 4, 1, 5);
  const cd = v128.shuffle<u32>(c, d, 0, 4, 1, 5);
  const abEnd = v128.shuffle<u32>(a, b, 2, 6, 3, 7);
  const cdEnd = v128.shuffle<u32>(c, d, 2, 6, 3, 7);
  storePair(v128.shuffle<u64>(ab, cd, 0, 2), s, z, out, rowBytes, 0, 2);
  storePair(v128.shuffle<u64>(ab, cd, 1, 3), s, z, out, rowBytes, 4, 6);
  storePair(v128.shuffle<u64>(abEnd, cdEnd, 0, 2), s, z, out, rowBytes, 1, 3);
  storePair(v128.shuffle<u64>(abEnd, cdEnd, 1, 3), s, z, out, rowBytes, 5, 7);
}

/** The words of four columns: their first bytes, their second ... */
// @ts-ignore: decorator
@inline
function planesOf(word: usize, stride: usize): v128 {
  let four = v128.load32_zero(word);
  four = v128.load_lane<u32>(word + stride, four, 1);
  four = v128.load_lane<u32>(word + stride * 2, four, 2);
  four = v128.load_lane<u32>(word + stride * 3, four, 3);
  return v128.shuffle<u8>(four, four, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}

/** The rows in the lower and the upper halves of 16 bytes. */
// @ts-ignore: decorator
@inline
function storePair(
  pairs: v128,
  s: usize,
  z: usize,
  out: usize,
  rowBytes: usize,
  lower: usize,
  upper: usize,
): void {
  const halves = v128.load(LOWER_HALVES);
  const codes = v128.and(pairs, halves);
  storeDifferences(
    out + lower * rowBytes,
    codes,
    v128.load32_splat(z + lower * 4),
    v128.load32_splat(s + lower * 4),
  );
  const others = v128.and(i16x8.shr_u(pairs, 4), halves);
  storeDifferences(
    out + upper * rowBytes,
    others,
    v128.load32_splat(z + upper * 4),
    v128.load32_splat(s + upper * 4),
  );
}
