import { interleaved, interleaved16, interleavedEnd, interleavedEnd16 } from "./lanes";

// F8 as other floats. An F8 is first made a bfloat16, which holds each of its values: the upper and the lower bytes of 16 of
// them are computed side by side. Constants come from memory, as V8 makes those in code anew in each round of a loop.

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
/** The largest finite one. */
const FINITE_5 = memory.data<u64>([0x7b7b7b7b7b7b7b7b, 0x7b7b7b7b7b7b7b7b]);
const INFINITY_5 = memory.data<u64>([0x7c7c7c7c7c7c7c7c, 0x7c7c7c7c7c7c7c7c]);
/** The lower byte of a quiet NaN. */
const QUIET_LOW = memory.data<u64>([0xc0c0c0c0c0c0c0c0, 0xc0c0c0c0c0c0c0c0]);

// What is to be added for exponents of zero, by the code. A swizzle gives zero for codes that are beyond its table.
const SUBNORMAL_E4M3_LOW = memory.data<u8>([
  0, 0xf0, 0x60, 0x90, 0xc0, 0xd0, 0xe0, 0xf0, 0, 0, 0, 0, 0, 0, 0, 0,
]);
const SUBNORMAL_E4M3_HIGH = memory.data<u8>([0xc4, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
const SUBNORMAL_E5M2_LOW = memory.data<u8>([0, 0x60, 0xc0, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
const SUBNORMAL_E5M2_HIGH = memory.data<u8>([0xc8, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

/** As BF16. Counts go up to the next multiple of 16. */
export function e4m3ToBf16(from: usize, to: usize, count: usize): void {
  fromE4M3(from, to, count + 15, 1, false);
}

/** The same for the other F8, whose infinities and NaNs have the highest exponent. */
export function e5m2ToBf16(from: usize, to: usize, count: usize): void {
  fromE5M2(from, to, count + 15, 1, false);
}

/** As F32 times the scale, 16 codes at a time: as many as are whole of `count`. */
export function scaleE4M3(codes: usize, out: usize, count: usize, scale: f32): void {
  fromE4M3(codes, out, count, scale, true);
}

export function scaleE5M2(codes: usize, out: usize, count: usize, scale: f32): void {
  fromE5M2(codes, out, count, scale, true);
}

/** F32 times the scale, or BF16: 16 codes at a time, as many as are whole of `count`. */
// @ts-ignore: decorator
@inline
function fromE4M3(codes: usize, out: usize, count: usize, scale: f32, isScaled: bool): void {
  const mantissaBits = v128.load(MANTISSA_3);
  const exponentBits = v128.load(EXPONENT_4);
  const magnitudeBits = v128.load(MAGNITUDE);
  const signBits = v128.load(SIGN);
  const bias = v128.load(BIAS_4);
  const nanLow = v128.load(NAN_LOW);
  const subnormalLow = v128.load(SUBNORMAL_E4M3_LOW);
  const subnormalHigh = v128.load(SUBNORMAL_E4M3_HIGH);
  const s = f32x4.splat(scale);
  for (const end = codes + (count & ~15); codes < end; codes += 16, out += isScaled ? 64 : 32) {
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
    if (isScaled) storeScaled(out, low, high, s);
    else storeBf16(out, low, high);
  }
}

// @ts-ignore: decorator
@inline
function fromE5M2(codes: usize, out: usize, count: usize, scale: f32, isScaled: bool): void {
  const mantissaBits = v128.load(MANTISSA_2);
  const exponentBits = v128.load(EXPONENT_5);
  const magnitudeBits = v128.load(MAGNITUDE);
  const signBits = v128.load(SIGN);
  const bias = v128.load(BIAS_5);
  const finite = v128.load(FINITE_5);
  const infinity = v128.load(INFINITY_5);
  const quiet = v128.load(QUIET_LOW);
  const subnormalLow = v128.load(SUBNORMAL_E5M2_LOW);
  const subnormalHigh = v128.load(SUBNORMAL_E5M2_HIGH);
  const s = f32x4.splat(scale);
  for (const end = codes + (count & ~15); codes < end; codes += 16, out += isScaled ? 64 : 32) {
    const code = v128.load(codes);
    const magnitude = v128.and(code, magnitudeBits);
    const special = i8x16.gt_s(magnitude, finite);
    let low = i16x8.shl(v128.and(code, mantissaBits), 5);
    low = i8x16.add(low, i8x16.swizzle(subnormalLow, magnitude));
    let high = i8x16.add(i16x8.shr_u(v128.and(code, exponentBits), 3), bias);
    high = i8x16.add(high, i8x16.swizzle(subnormalHigh, magnitude));
    high = v128.or(high, v128.and(special, bias));
    high = v128.or(high, v128.and(code, signBits));
    if (isScaled) storeScaled(out, low, high, s);
    else storeBf16(out, v128.bitselect(quiet, low, i8x16.gt_s(magnitude, infinity)), high);
  }
}

// @ts-ignore: decorator
@inline
function storeBf16(out: usize, low: v128, high: v128): void {
  v128.store(out, interleaved(low, high));
  v128.store(out, interleavedEnd(low, high), 16);
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
