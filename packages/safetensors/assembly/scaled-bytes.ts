import { interleaved, interleaved16, interleavedEnd, interleavedEnd16 } from "./lanes";

// Codes of a byte each, times a scale. An F8 is first made a bfloat16, which holds each of its values: the upper and the
// lower bytes of 16 of them are computed side by side. Constants come from memory, as V8 makes those in code anew in each
// round of a loop.

const MANTISSA_3 = memory.data<u64>([0x0f0f0f0f0f0f0f0f, 0x0f0f0f0f0f0f0f0f]);
const EXPONENT_4 = memory.data<u64>([0x7070707070707070, 0x7070707070707070]);
const MANTISSA_2 = memory.data<u64>([0x0707070707070707, 0x0707070707070707]);
const EXPONENT_5 = memory.data<u64>([0x7878787878787878, 0x7878787878787878]);
const MAGNITUDE = memory.data<u64>([0x7f7f7f7f7f7f7f7f, 0x7f7f7f7f7f7f7f7f]);
const SIGN = memory.data<u64>([0x8080808080808080, 0x8080808080808080]);
/** 120 more in the exponent, of which the upper byte has 7 bits. */
const BIAS_4 = memory.data<u64>([0x3c3c3c3c3c3c3c3c, 0x3c3c3c3c3c3c3c3c]);
/** 112 more. */
const BIAS_5 = memory.data<u64>([0x3838383838383838, 0x3838383838383838]);
/** What a NaN of E4M3 has too much in the lower byte. */
const NAN_LOW = memory.data<u64>([0x3030303030303030, 0x3030303030303030]);

// What is to be added for exponents of zero, by the code. A swizzle gives zero for codes that are beyond its table.
const SUBNORMAL_E4M3_LOW = memory.data<u8>([
  0, 0xf0, 0x60, 0x90, 0xc0, 0xd0, 0xe0, 0xf0, 0, 0, 0, 0, 0, 0, 0, 0,
]);
const SUBNORMAL_E4M3_HIGH = memory.data<u8>([0xc4, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
const SUBNORMAL_E5M2_LOW = memory.data<u8>([0, 0x60, 0xc0, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
const SUBNORMAL_E5M2_HIGH = memory.data<u8>([0xc8, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

/** How the codes of a "scaled-bytes" call are to be read. */
const E4M3 = 0;
const E5M2 = 1;

/** Times the scale, 16 codes at a time: as many as are whole of `count`. */
export function scaleE4M3(codes: usize, out: usize, count: usize, scale: f32): void {
  const mantissaBits = v128.load(MANTISSA_3);
  const exponentBits = v128.load(EXPONENT_4);
  const magnitudeBits = v128.load(MAGNITUDE);
  const signBits = v128.load(SIGN);
  const bias = v128.load(BIAS_4);
  const nanLow = v128.load(NAN_LOW);
  const subnormalLow = v128.load(SUBNORMAL_E4M3_LOW);
  const subnormalHigh = v128.load(SUBNORMAL_E4M3_HIGH);
  const s = f32x4.splat(scale);
  for (const end = codes + (count & ~15); codes < end; codes += 16, out += 64) {
    const code = v128.load(codes);
    const magnitude = v128.and(code, magnitudeBits);
    const nan = i8x16.eq(magnitude, magnitudeBits);
    let low = i16x8.shl(v128.and(code, mantissaBits), 4);
    low = i8x16.add(low, i8x16.swizzle(subnormalLow, magnitude));
    low = v128.andnot(low, v128.and(nan, nanLow));
    let high = i8x16.add(i16x8.shr_u(v128.and(code, exponentBits), 4), bias);
    high = i8x16.add(high, i8x16.swizzle(subnormalHigh, magnitude));
    high = v128.or(high, v128.and(nan, bias));
    // There is one NaN, whatever its sign.
    high = v128.or(high, v128.andnot(v128.and(code, signBits), nan));
    storeScaled(out, low, high, s);
  }
}

/** The same for the other F8, whose infinities and NaNs have the highest exponent. */
function scaleE5M2(codes: usize, out: usize, count: usize, scale: f32): void {
  const mantissaBits = v128.load(MANTISSA_2);
  const exponentBits = v128.load(EXPONENT_5);
  const magnitudeBits = v128.load(MAGNITUDE);
  const signBits = v128.load(SIGN);
  const bias = v128.load(BIAS_5);
  const subnormalLow = v128.load(SUBNORMAL_E5M2_LOW);
  const subnormalHigh = v128.load(SUBNORMAL_E5M2_HIGH);
  const highest = i8x16.splat(0x7b);
  const s = f32x4.splat(scale);
  for (const end = codes + (count & ~15); codes < end; codes += 16, out += 64) {
    const code = v128.load(codes);
    const magnitude = v128.and(code, magnitudeBits);
    const special = i8x16.gt_s(magnitude, highest);
    let low = i16x8.shl(v128.and(code, mantissaBits), 5);
    low = i8x16.add(low, i8x16.swizzle(subnormalLow, magnitude));
    let high = i8x16.add(i16x8.shr_u(v128.and(code, exponentBits), 3), bias);
    high = i8x16.add(high, i8x16.swizzle(subnormalHigh, magnitude));
    high = v128.or(high, v128.and(special, bias));
    high = v128.or(high, v128.and(code, signBits));
    storeScaled(out, low, high, s);
  }
}

// @ts-ignore: decorator
@inline
function storeScaled(out: usize, low: v128, high: v128, s: v128): void {
  const zero = i64x2.splat(0);
  const first = interleaved(low, high);
  const second = interleavedEnd(low, high);
  v128.store(out, f32x4.mul(interleaved16(zero, first), s));
  v128.store(out, f32x4.mul(interleavedEnd16(zero, first), s), 16);
  v128.store(out, f32x4.mul(interleaved16(zero, second), s), 32);
  v128.store(out, f32x4.mul(interleavedEnd16(zero, second), s), 48);
}

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
