import { INFINITY, interleaved, interleaved16, interleavedEnd, interleavedEnd16, MAGNITUDE } from "./lanes";

// Casts of floats, to nearest, ties to even. Counts go up to the next multiple of 16. Constants come from memory, as V8
// makes those in code anew in each round of a loop. Those of 16 and 32 bits are four parts that are walked through side by side:
// the processor then waits for four places of memory at a time, which takes a sixth less time than one after the other (measured).

const ONE = memory.data<u32>([1, 1, 1, 1]);

/** How often 16 values are in a quarter of all, so that four times as many are not fewer. */
// @ts-ignore: decorator
@inline
function stepsOfPart(count: usize): usize {
  return (count + 63) / 64;
}

/** Whether no part follows this one. What follows may lie beyond all addresses, so that only distances can be compared. */
// @ts-ignore: decorator
@inline
function isLast(at: usize, part: usize, end: usize): bool {
  return end - at <= part;
}

/** The mantissa is the lower half of each float. */
export function bf16ToF32(from: usize, to: usize, count: usize): void {
  const zero = i64x2.splat(0);
  const steps = stepsOfPart(count);
  const part = steps * 32;
  const end = from + count * 2;
  for (let left = steps; left > 0; left--, from += 32, to += 64)
    for (let f = from, t = to; ; f += part, t += steps * 64) {
      const first = v128.load(f);
      const second = v128.load(f, 16);
      v128.store(t, interleaved16(zero, first));
      v128.store(t, interleavedEnd16(zero, first), 16);
      v128.store(t, interleaved16(zero, second), 32);
      v128.store(t, interleavedEnd16(zero, second), 48);
      if (isLast(f, part, end)) break;
    }
}

/** The sign and, three places to the right of where they lie in the upper half, all other bits. */
const F16_BITS = memory.data<u32>([0x8fffe000, 0x8fffe000, 0x8fffe000, 0x8fffe000]);
/** 2^112: the exponent's bias changes from 15 to 127, and subnormals become normal. */
const F16_BIAS = memory.data<u32>([0x77800000, 0x77800000, 0x77800000, 0x77800000]);
const F16_MAGNITUDE = memory.data<u32>([0x7fff7fff, 0x7fff7fff, 0x7fff7fff, 0x7fff7fff]);
/** The largest finite one. */
const F16_FINITE = memory.data<u32>([0x7bff7bff, 0x7bff7bff, 0x7bff7bff, 0x7bff7bff]);
/** The upper half of an infinity. */
const UPPER_INFINITY = memory.data<u32>([0x7f807f80, 0x7f807f80, 0x7f807f80, 0x7f807f80]);

export function f16ToF32(from: usize, to: usize, count: usize): void {
  const bits = v128.load(F16_BITS);
  const bias = v128.load(F16_BIAS);
  const magnitude = v128.load(F16_MAGNITUDE);
  const finite = v128.load(F16_FINITE);
  const infinity = v128.load(UPPER_INFINITY);
  const steps = stepsOfPart(count);
  const part = steps * 32;
  const end = from + count * 2;
  for (let left = steps; left > 0; left--, from += 32, to += 64)
    for (let f = from, t = to; ; f += part, t += steps * 64) {
      storeWidened(t, v128.load(f), bits, bias, magnitude, finite, infinity);
      storeWidened(t + 32, v128.load(f, 16), bits, bias, magnitude, finite, infinity);
      if (isLast(f, part, end)) break;
    }
}

/** An E5M2 is the upper half of an F16. */
export function e5m2ToF32(from: usize, to: usize, count: usize): void {
  const bits = v128.load(F16_BITS);
  const bias = v128.load(F16_BIAS);
  const magnitude = v128.load(F16_MAGNITUDE);
  const finite = v128.load(F16_FINITE);
  const infinity = v128.load(UPPER_INFINITY);
  const zero = i64x2.splat(0);
  for (const end = from + count; from < end; from += 16, to += 64) {
    const codes = v128.load(from);
    storeWidened(to, interleaved(zero, codes), bits, bias, magnitude, finite, infinity);
    storeWidened(to + 32, interleavedEnd(zero, codes), bits, bias, magnitude, finite, infinity);
  }
}

/** Eight of F16 as F32. */
// @ts-ignore: decorator
@inline
function storeWidened(
  to: usize,
  halves: v128,
  bits: v128,
  bias: v128,
  magnitude: v128,
  finite: v128,
  infinity: v128,
): void {
  const zero = i64x2.splat(0);
  const special = v128.and(i16x8.gt_s(v128.and(halves, magnitude), finite), infinity);
  const first = v128.and(i32x4.shr_s(interleaved16(zero, halves), 3), bits);
  const second = v128.and(i32x4.shr_s(interleavedEnd16(zero, halves), 3), bits);
  v128.store(to, v128.or(f32x4.mul(first, bias), interleaved16(zero, special)));
  v128.store(to, v128.or(f32x4.mul(second, bias), interleavedEnd16(zero, special)), 16);
}

const BF16_HALF = memory.data<u32>([0x7fff, 0x7fff, 0x7fff, 0x7fff]);
const SIGN = memory.data<u32>([0x80000000, 0x80000000, 0x80000000, 0x80000000]);
const QUIET_NAN = memory.data<u32>([0x7fc00000, 0x7fc00000, 0x7fc00000, 0x7fc00000]);

/** A NaN becomes the quiet one of its sign. Where there is none, which is nearly always, no choice is made. */
export function f32ToBf16(from: usize, to: usize, count: usize): void {
  const half = v128.load(BF16_HALF);
  const one = v128.load(ONE);
  const sign = v128.load(SIGN);
  const quiet = v128.load(QUIET_NAN);
  const steps = stepsOfPart(count);
  const part = steps * 64;
  const end = from + count * 4;
  for (let left = steps; left > 0; left--, from += 64, to += 32)
    for (let f = from, t = to; ; f += part, t += steps * 32) {
      const a = v128.load(f);
      const b = v128.load(f, 16);
      const c = v128.load(f, 32);
      const d = v128.load(f, 48);
      const nans = v128.or(v128.or(f32x4.ne(a, a), f32x4.ne(b, b)), v128.or(f32x4.ne(c, c), f32x4.ne(d, d)));
      if (v128.any_true(nans)) {
        v128.store(t, halves(quieted(a, sign, quiet), quieted(b, sign, quiet), half, one));
        v128.store(t, halves(quieted(c, sign, quiet), quieted(d, sign, quiet), half, one), 16);
      } else {
        v128.store(t, halves(a, b, half, one));
        v128.store(t, halves(c, d, half, one), 16);
      }
      if (isLast(f, part, end)) break;
    }
}

/** The upper halves, rounded by the lower ones; a carry into the exponent is right, up to infinity. */
// @ts-ignore: decorator
@inline
function halves(a: v128, b: v128, half: v128, one: v128): v128 {
  const first = i32x4.add(i32x4.add(a, half), v128.and(i32x4.shr_u(a, 16), one));
  const second = i32x4.add(i32x4.add(b, half), v128.and(i32x4.shr_u(b, 16), one));
  return v128.shuffle<u16>(first, second, 1, 3, 5, 7, 9, 11, 13, 15);
}

/** What halves round to the quiet NaN of its sign, if it is a NaN. */
// @ts-ignore: decorator
@inline
function quieted(value: v128, sign: v128, quiet: v128): v128 {
  return v128.bitselect(v128.or(v128.and(value, sign), quiet), value, f32x4.ne(value, value));
}

/** 2^16, which becomes infinity. */
const F16_MOST = memory.data<u32>([0x47800000, 0x47800000, 0x47800000, 0x47800000]);
/** The exponent of the least normal one, 2^-14. */
const F16_LEAST = memory.data<u32>([0x38800000, 0x38800000, 0x38800000, 0x38800000]);
/** 13 more in the exponent: where floats are 2^-10 apart for each 1 here. */
const F16_UNIT = memory.data<u32>([0x06800000, 0x06800000, 0x06800000, 0x06800000]);
/** The least exponent and the unit. */
const F16_BASE = memory.data<u32>([0x3f000000, 0x3f000000, 0x3f000000, 0x3f000000]);
/** Factors of the lower and the upper half that move 10 bits of the one below the other. */
const F16_JOIN = memory.data<u32>([0x00080001, 0x00080001, 0x00080001, 0x00080001]);
const F16_NAN = memory.data<u32>([0x7e007e00, 0x7e007e00, 0x7e007e00, 0x7e007e00]);
const F16_SIGN = memory.data<u32>([0x80008000, 0x80008000, 0x80008000, 0x80008000]);

/** A NaN, whatever its payload, ends above all others and so becomes the one there is of its sign. */
export function f32ToF16(from: usize, to: usize, count: usize): void {
  const magnitude = v128.load(MAGNITUDE);
  const most = v128.load(F16_MOST);
  const infinity = v128.load(INFINITY);
  const least = v128.load(F16_LEAST);
  const unit = v128.load(F16_UNIT);
  const base = v128.load(F16_BASE);
  const join = v128.load(F16_JOIN);
  const nan = v128.load(F16_NAN);
  const sign = v128.load(F16_SIGN);
  const steps = stepsOfPart(count);
  const part = steps * 64;
  const end = from + count * 4;
  for (let left = steps; left > 0; left--, from += 64, to += 32)
    for (let f = from, t = to; ; f += part, t += steps * 32) {
      storeF16(t, f, magnitude, most, infinity, least, unit, base, join, nan, sign);
      storeF16(t + 16, f + 32, magnitude, most, infinity, least, unit, base, join, nan, sign);
      if (isLast(f, part, end)) break;
    }
}

/** Eight of F32 as F16. */
// @ts-ignore: decorator
@inline
function storeF16(
  to: usize,
  from: usize,
  magnitude: v128,
  most: v128,
  infinity: v128,
  least: v128,
  unit: v128,
  base: v128,
  join: v128,
  nan: v128,
  sign: v128,
): void {
  const a = v128.load(from);
  const b = v128.load(from, 16);
  const codes = i16x8.narrow_i32x4_s(
    codeOfF32(a, magnitude, most, infinity, least, unit, base, join),
    codeOfF32(b, magnitude, most, infinity, least, unit, base, join),
  );
  // Numbers that do not fit keep their sign.
  const signs = v128.and(i16x8.narrow_i32x4_s(a, b), sign);
  v128.store(to, v128.or(i16x8.min_s(codes, nan), signs));
}

/**
 * The code of the magnitude. The sum of the value and its power of two, that raised by the unit, has the exponent in its upper
 * half and the rounded mantissa in its lower one.
 */
// @ts-ignore: decorator
@inline
function codeOfF32(
  value: v128,
  magnitudeBits: v128,
  most: v128,
  infinity: v128,
  least: v128,
  unit: v128,
  base: v128,
  join: v128,
): v128 {
  const magnitude = f32x4.pmin(v128.and(value, magnitudeBits), most);
  const exponent = i32x4.max_s(v128.and(magnitude, infinity), least);
  const sum = f32x4.add(magnitude, i32x4.add(exponent, unit));
  return i32x4.dot_i16x8_s(i32x4.sub(sum, base), join);
}
