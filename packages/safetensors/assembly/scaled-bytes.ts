import { scaleE4M3, scaleE5M2 } from "./from-f8";

// Codes of a byte each, times a scale.

/** How the codes of a "scaled-bytes" call are to be read. */
const E4M3 = 0;
const E5M2 = 1;

/** Signed integers, less `zero`, times the scale. */
function scaleI8(codes: usize, out: usize, count: usize, scale: f32, zero: f32): void {
  const s = f32x4.splat(scale);
  const z = f32x4.splat(zero);
  for (const end = codes + (count & ~15); codes < end; codes += 16, out += 64) {
    const code = v128.load(codes);
    const first = i16x8.extend_low_i8x16_s(code);
    const second = i16x8.extend_high_i8x16_s(code);
    storeDifference(out, i32x4.extend_low_i16x8_s(first), z, s);
    storeDifference(out + 16, i32x4.extend_high_i16x8_s(first), z, s);
    storeDifference(out + 32, i32x4.extend_low_i16x8_s(second), z, s);
    storeDifference(out + 48, i32x4.extend_high_i16x8_s(second), z, s);
  }
}

// @ts-ignore: decorator
@inline
function storeDifference(out: usize, codes: v128, z: v128, s: v128): void {
  v128.store(out, f32x4.mul(f32x4.sub(f32x4.convert_i32x4_s(codes), z), s));
}

/**
 * Rows from `row` on, each in blocks of so many columns; scales and zeros are those of the whole. `zeros` is 0 where there
 * are none; only integers have some. What is left of a block after the last 16 codes is looked up in the table.
 */
export function scaledBytes(
  kind: i32,
  codes: usize,
  table: usize,
  scales: usize,
  zeros: usize,
  out: usize,
  row: usize,
  rows: usize,
  columns: usize,
  blockRows: usize,
  blockColumns: usize,
): void {
  const rowBlocks = (columns + blockColumns - 1) / blockColumns;
  for (const end = row + rows; row < end; row++) {
    let block = (row / blockRows) * rowBlocks * 4;
    for (let left: usize = 0; left < columns; left += blockColumns, block += 4) {
      const count = min(blockColumns, columns - left);
      const scale = load<f32>(scales + block);
      const zero: f32 = zeros ? load<f32>(zeros + block) : 0;
      if (kind == E4M3) scaleE4M3(codes, out, count, scale);
      else if (kind == E5M2) scaleE5M2(codes, out, count, scale);
      else scaleI8(codes, out, count, scale, zero);
      for (let i = count & ~15; i < count; i++) {
        const value = load<f32>(table + ((<usize>load<u8>(codes + i)) << 2));
        store<f32>(out + (i << 2), (value - zero) * scale);
      }
      codes += count;
      out += count << 2;
    }
  }
}
