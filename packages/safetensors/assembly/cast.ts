import { interleaved, interleaved16, interleavedEnd, interleavedEnd16 } from "./lanes";

// Casts of floats, to nearest, ties to even. Counts go up to the next multiple of 16. Constants come from memory, as V8
// makes those in code anew in each round of a loop.

const MAGNITUDE = memory.data<u32>([0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff]);
const INFINITY = memory.data<u32>([0x7f800000, 0x7f800000, 0x7f800000, 0x7f800000]);
const ONE = memory.data<u32>([1, 1, 1, 1]);

/** The mantissa is the lower half of each float. */
export function bf16ToF32(from: usize, to: usize, count: usize): void {
  const zero = i64x2.splat(0);
  for (const end = from + count * 2; from < end; from += 32, to += 64) {
    const first = v128.load(from);
    const second = v128.load(from, 16);
    v128.store(to, interleaved16(zero, first));
    v128.store(to, interleavedEnd16(zero, first), 16);
    v128.store(to, interleaved16(zero, second), 32);
    v128.store(to, interleavedEnd16(zero, second), 48);
  }
}

const F16_MAGNITUDE = memory.data<u32>([0x0fffe000, 0x0fffe000, 0x0fffe000, 0x0fffe000]);
const F16_INFINITY = memory.data<u32>([0x0f7fffff, 0x0f7fffff, 0x0f7fffff, 0x0f7fffff]);
const SIGN = memory.data<u32>([0x80000000, 0x80000000, 0x80000000, 0x80000000]);
/** 2^112: the exponent's bias changes from 15 to 127, and subnormals become normal. */
const F16_BIAS = memory.data<u32>([0x77800000, 0x77800000, 0x77800000, 0x77800000]);

export function f16ToF32(from: usize, to: usize, count: usize): void {
  const magnitude = v128.load(F16_MAGNITUDE);
  const finite = v128.load(F16_INFINITY);
  const infinity = v128.load(INFINITY);
  const sign = v128.load(SIGN);
  const bias = v128.load(F16_BIAS);
  for (const end = from + count * 2; from < end; from += 16, to += 32) {
    const halves = v128.load(from);
    // The sign comes along, to the left of where it belongs.
    v128.store(to, widenF16(i32x4.extend_low_i16x8_s(halves), magnitude, finite, infinity, sign, bias));
    v128.store(to, widenF16(i32x4.extend_high_i16x8_s(halves), magnitude, finite, infinity, sign, bias), 16);
  }
}

/** An E5M2 is the upper half of an F16. */
export function e5m2ToF32(from: usize, to: usize, count: usize): void {
  const magnitude = v128.load(F16_MAGNITUDE);
  const finite = v128.load(F16_INFINITY);
  const infinity = v128.load(INFINITY);
  const sign = v128.load(SIGN);
  const bias = v128.load(F16_BIAS);
  const zero = i64x2.splat(0);
  for (const end = from + count; from < end; from += 16, to += 64) {
    const codes = v128.load(from);
    const first = interleaved(zero, codes);
    const second = interleavedEnd(zero, codes);
    v128.store(to, widenF16(i32x4.extend_low_i16x8_s(first), magnitude, finite, infinity, sign, bias));
    v128.store(to, widenF16(i32x4.extend_high_i16x8_s(first), magnitude, finite, infinity, sign, bias), 16);
    v128.store(to, widenF16(i32x4.extend_low_i16x8_s(second), magnitude, finite, infinity, sign, bias), 32);
    v128.store(to, widenF16(i32x4.extend_high_i16x8_s(second), magnitude, finite, infinity, sign, bias), 48);
  }
}

// @ts-ignore: decorator
@inline
function widenF16(codes: v128, magnitude: v128, finite: v128, infinity: v128, sign: v128, bias: v128): v128 {
  const bits = v128.and(i32x4.shl(codes, 13), magnitude);
  const special = v128.and(i32x4.gt_s(bits, finite), infinity);
  return v128.or(v128.or(f32x4.mul(bits, bias), special), v128.and(codes, sign));
}

const BF16_HALF = memory.data<u32>([0x7fff, 0x7fff, 0x7fff, 0x7fff]);
const QUIET_NAN = memory.data<u32>([0x7fc00000, 0x7fc00000, 0x7fc00000, 0x7fc00000]);

/** A NaN becomes the quiet one of its sign. Where there is none, which is nearly always, no choice is made. */
export function f32ToBf16(from: usize, to: usize, count: usize): void {
  const half = v128.load(BF16_HALF);
  const one = v128.load(ONE);
  const sign = v128.load(SIGN);
  const quiet = v128.load(QUIET_NAN);
  for (const end = from + count * 4; from < end; from += 64, to += 32) {
    const a = v128.load(from);
    const b = v128.load(from, 16);
    const c = v128.load(from, 32);
    const d = v128.load(from, 48);
    const nans = v128.or(v128.or(f32x4.ne(a, a), f32x4.ne(b, b)), v128.or(f32x4.ne(c, c), f32x4.ne(d, d)));
    if (v128.any_true(nans)) {
      v128.store(to, halves(quieted(a, sign, quiet), quieted(b, sign, quiet), half, one));
      v128.store(to, halves(quieted(c, sign, quiet), quieted(d, sign, quiet), half, one), 16);
    } else {
      v128.store(to, halves(a, b, half, one));
      v128.store(to, halves(c, d, half, one), 16);
    }
  }
}

/** The upper halves, rounded by the lower ones; a carry into the exponent is right, up to infinity. */
// @ts-ignore: decorator
@inline
function halves(a: v128, b: v128, half: v128, one: v128): v128 {
  const first = i32x4.add(i32x4.add(a, half), v128.and(i32x4.shr_u(a, 16), one));
  const second = i32x4.add(i32x4.add(b, half), v128.and(i32x4.shr_u(b, 16), one));
  return i16x8.narrow_i32x4_u(i32x4.shr_u(first, 16), i32x4.shr_u(second, 16));
}

/** What halves round to the quiet NaN of its sign, if it is a NaN. */
// @ts-ignore: decorator
@inline
function quieted(value: v128, sign: v128, quiet: v128): v128 {
  return v128.bitselect(v128.or(v128.and(value, sign), quiet), value, f32x4.ne(value, value));
}

const F16_HALF = memory.data<u32>([0xc8000fff, 0xc8000fff, 0xc8000fff, 0xc8000fff]);
const F16_UNIT = memory.data<f32>([0.5, 0.5, 0.5, 0.5]);
const F16_LEAST_NORMAL = memory.data<u32>([0x400, 0x400, 0x400, 0x400]);
const F16_OVERFLOW = memory.data<u32>([0x7c00, 0x7c00, 0x7c00, 0x7c00]);
const F16_NAN = memory.data<u32>([0x7e00, 0x7e00, 0x7e00, 0x7e00]);
const F16_SIGN = memory.data<u32>([0x80008000, 0x80008000, 0x80008000, 0x80008000]);

/**
 * A normal one is rounded as an integer, its exponent's bias changed. For a subnormal the unit is 2^-24, that of floats next
 * to 1/2, so that adding a half rounds to it. Below the least normal one the former is the smaller, from there on
 * it is at least that: so no choice is needed.
 */
export function f32ToF16(from: usize, to: usize, count: usize): void {
  const magnitude = v128.load(MAGNITUDE);
  const one = v128.load(ONE);
  const half = v128.load(F16_HALF);
  const unit = v128.load(F16_UNIT);
  const normal = v128.load(F16_LEAST_NORMAL);
  const largest = v128.load(F16_OVERFLOW);
  const infinity = v128.load(INFINITY);
  const nan = v128.load(F16_NAN);
  const sign = v128.load(F16_SIGN);
  for (const end = from + count * 4; from < end; from += 32, to += 16) {
    const a = v128.load(from);
    const b = v128.load(from, 16);
    const codes = i16x8.narrow_i32x4_u(
      toSmall(a, 13, magnitude, one, half, unit, normal, largest, infinity, nan),
      toSmall(b, 13, magnitude, one, half, unit, normal, largest, infinity, nan),
    );
    const signs = i16x8.narrow_i32x4_s(i32x4.shr_s(a, 16), i32x4.shr_s(b, 16));
    v128.store(to, v128.or(codes, v128.and(signs, sign)));
  }
}

/** 448 */
const E4M3_LARGEST = memory.data<u32>([0x43e00000, 0x43e00000, 0x43e00000, 0x43e00000]);
/** The exponent of the least normal one, 2^-6. */
const E4M3_LEAST_NORMAL = memory.data<u32>([0x3c800000, 0x3c800000, 0x3c800000, 0x3c800000]);
/** 20 more in the exponent. */
const E4M3_UNIT = memory.data<u32>([0x0a000000, 0x0a000000, 0x0a000000, 0x0a000000]);
/** The exponent of the least normal one at the place that it has in a code. */
const E4M3_BIAS = memory.data<u16>([0x3c8, 0x3c8, 0x3c8, 0x3c8, 0x3c8, 0x3c8, 0x3c8, 0x3c8]);
const BYTE_SIGN = memory.data<u64>([0x8080808080808080, 0x8080808080808080]);

/** What is too large becomes the largest finite value. A sum with 2^20 times the power of two below it rounds to 3 bits. */
export function f32ToE4M3(from: usize, to: usize, count: usize): void {
  const magnitude = v128.load(MAGNITUDE);
  const largest = v128.load(E4M3_LARGEST);
  const infinity = v128.load(INFINITY);
  const normal = v128.load(E4M3_LEAST_NORMAL);
  const unit = v128.load(E4M3_UNIT);
  const bias = v128.load(E4M3_BIAS);
  const sign = v128.load(BYTE_SIGN);
  for (const end = from + count * 4; from < end; from += 64, to += 16) {
    const a = v128.load(from);
    const b = v128.load(from, 16);
    const c = v128.load(from, 32);
    const d = v128.load(from, 48);
    const first = i16x8.narrow_i32x4_s(
      toE4M3(a, magnitude, largest, infinity, normal, unit),
      toE4M3(b, magnitude, largest, infinity, normal, unit),
    );
    const second = i16x8.narrow_i32x4_s(
      toE4M3(c, magnitude, largest, infinity, normal, unit),
      toE4M3(d, magnitude, largest, infinity, normal, unit),
    );
    const codes = i8x16.narrow_i16x8_u(i16x8.sub(first, bias), i16x8.sub(second, bias));
    // Numbers that do not fit keep their sign.
    const signs = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
    v128.store(to, v128.or(codes, v128.and(signs, sign)));
  }
}

/** The code of the magnitude, and the bias. A NaN comes behind the largest. */
// @ts-ignore: decorator
@inline
function toE4M3(value: v128, magnitudeBits: v128, largest: v128, infinity: v128, normal: v128, unit: v128): v128 {
  const magnitude = v128.and(value, magnitudeBits);
  const clamped = i32x4.min_s(magnitude, largest);
  const exponent = i32x4.max_s(v128.and(clamped, infinity), normal);
  const step = i32x4.add(exponent, unit);
  const mantissa = i32x4.sub(f32x4.add(clamped, step), step);
  const code = i32x4.add(mantissa, i32x4.shr_u(exponent, 20));
  return i32x4.sub(code, i32x4.gt_s(magnitude, infinity));
}

/** The code of the magnitude. `half`: just below half a unit, less the difference of the biases. */
// @ts-ignore: decorator
@inline
function toSmall(
  value: v128,
  shift: i32,
  magnitudeBits: v128,
  one: v128,
  half: v128,
  unit: v128,
  leastNormal: v128,
  largest: v128,
  infinity: v128,
  nanCode: v128,
): v128 {
  const magnitude = v128.and(value, magnitudeBits);
  const odd = v128.and(i32x4.shr_u(magnitude, shift), one);
  const normal = i32x4.shr_s(i32x4.add(i32x4.add(magnitude, half), odd), shift);
  const subnormal = i32x4.sub(f32x4.add(magnitude, unit), unit);
  const code = i32x4.max_s(normal, i32x4.min_s(subnormal, leastNormal));
  const nan = v128.and(i32x4.gt_s(magnitude, infinity), nanCode);
  return i32x4.max_s(i32x4.min_s(code, largest), nan);
}
