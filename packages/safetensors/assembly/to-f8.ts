import { INFINITY, interleaved16, interleavedEnd16, MAGNITUDE } from "./lanes";

// Casts of floats to F8, to nearest, ties to even. Counts go up to the next multiple of 16. Constants come from memory, as V8
// makes those in code anew in each round of a loop.

/** A NaN with little in its lower half. */
const NAN = memory.data<u32>([0x7f800001, 0x7f800001, 0x7f800001, 0x7f800001]);
const BYTE_MAGNITUDE = memory.data<u64>([0x7f7f7f7f7f7f7f7f, 0x7f7f7f7f7f7f7f7f]);
const BYTE_SIGN = memory.data<u64>([0x8080808080808080, 0x8080808080808080]);

/** 448, the largest. */
const E4M3_MOST = memory.data<u32>([0x43e00000, 0x43e00000, 0x43e00000, 0x43e00000]);
/** The exponent of the least normal one, 2^-6. */
const E4M3_LEAST = memory.data<u32>([0x3c800000, 0x3c800000, 0x3c800000, 0x3c800000]);
/** 20 more in the exponent: where floats are 2^-3 apart for each 1 here. */
const E4M3_UNIT = memory.data<u32>([0x0a000000, 0x0a000000, 0x0a000000, 0x0a000000]);
/** Factors of the lower and the upper half that move 3 bits of the one below the other. */
const E4M3_JOIN = memory.data<u32>([0x00010010, 0x00010010, 0x00010010, 0x00010010]);
/** The upper half of the least exponent and the unit. */
const E4M3_BIAS = memory.data<u32>([0x46804680, 0x46804680, 0x46804680, 0x46804680]);

/** What is too large becomes the largest finite value. */
export function f32ToE4M3(from: usize, to: usize, count: usize): void {
  f32ToF8(from, to, count, E4M3_MOST, E4M3_LEAST, E4M3_UNIT, E4M3_JOIN, E4M3_BIAS, 4);
}

/** 2^16, which becomes infinity. */
const E5M2_MOST = memory.data<u32>([0x47800000, 0x47800000, 0x47800000, 0x47800000]);
const E5M2_LEAST = memory.data<u32>([0x38800000, 0x38800000, 0x38800000, 0x38800000]);
const E5M2_UNIT = memory.data<u32>([0x0a800000, 0x0a800000, 0x0a800000, 0x0a800000]);
const E5M2_JOIN = memory.data<u32>([0x00010020, 0x00010020, 0x00010020, 0x00010020]);
const E5M2_BIAS = memory.data<u32>([0x43004300, 0x43004300, 0x43004300, 0x43004300]);

/** What is too large becomes infinity. */
export function f32ToE5M2(from: usize, to: usize, count: usize): void {
  f32ToF8(from, to, count, E5M2_MOST, E5M2_LEAST, E5M2_UNIT, E5M2_JOIN, E5M2_BIAS, 5);
}

// @ts-ignore: decorator
@inline
function f32ToF8(
  from: usize,
  to: usize,
  count: usize,
  mostAt: usize,
  leastAt: usize,
  unitAt: usize,
  joinAt: usize,
  biasAt: usize,
  shift: i32,
): void {
  const magnitude = v128.load(MAGNITUDE);
  const nan = v128.load(NAN);
  const most = v128.load(mostAt);
  const infinity = v128.load(INFINITY);
  const least = v128.load(leastAt);
  const unit = v128.load(unitAt);
  const join = v128.load(joinAt);
  const bias = v128.load(biasAt);
  const byteMagnitude = v128.load(BYTE_MAGNITUDE);
  const sign = v128.load(BYTE_SIGN);
  for (const end = from + count * 4; from < end; from += 64, to += 16) {
    const a = v128.load(from);
    const b = v128.load(from, 16);
    const c = v128.load(from, 32);
    const d = v128.load(from, 48);
    const first = i16x8.narrow_i32x4_s(
      joined(a, magnitude, nan, most, infinity, least, unit, join),
      joined(b, magnitude, nan, most, infinity, least, unit, join),
    );
    const second = i16x8.narrow_i32x4_s(
      joined(c, magnitude, nan, most, infinity, least, unit, join),
      joined(d, magnitude, nan, most, infinity, least, unit, join),
    );
    // A NaN is above 255, so all of its bits become ones.
    const codes = i8x16.narrow_i16x8_u(
      i16x8.shr_u(i16x8.sub(first, bias), shift),
      i16x8.shr_u(i16x8.sub(second, bias), shift),
    );
    // Numbers that do not fit keep their sign.
    const signs = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
    v128.store(to, v128.or(v128.and(codes, byteMagnitude), v128.and(signs, sign)));
  }
}

/**
 * The code of the magnitude before its bias and shift. The sum of the value and its power of two, that raised by the unit, has
 * the exponent in its upper half and the rounded mantissa in its lower one.
 */
// @ts-ignore: decorator
@inline
function joined(
  value: v128,
  magnitudeBits: v128,
  nan: v128,
  most: v128,
  infinity: v128,
  least: v128,
  unit: v128,
  join: v128,
): v128 {
  const magnitude = f32x4.pmin(i32x4.min_s(v128.and(value, magnitudeBits), nan), most);
  const exponent = i32x4.max_s(v128.and(magnitude, infinity), least);
  return i32x4.dot_i16x8_s(f32x4.add(magnitude, i32x4.add(exponent, unit)), join);
}

const BF16_MAGNITUDE = memory.data<u32>([0x7fff7fff, 0x7fff7fff, 0x7fff7fff, 0x7fff7fff]);
const BF16_INFINITY = memory.data<u32>([0x7f807f80, 0x7f807f80, 0x7f807f80, 0x7f807f80]);
const BF16_ONE = memory.data<u32>([0x00010001, 0x00010001, 0x00010001, 0x00010001]);

/** 448 */
const BF16_E4M3_MOST = memory.data<u32>([0x43e043e0, 0x43e043e0, 0x43e043e0, 0x43e043e0]);
/** Just below half a unit, less the difference of the biases. */
const BF16_E4M3_HALF = memory.data<u32>([0xc407c407, 0xc407c407, 0xc407c407, 0xc407c407]);
/** 2^14, where floats are as far apart as subnormals are here. */
const E4M3_SUBNORMAL = memory.data<u32>([0x46800000, 0x46800000, 0x46800000, 0x46800000]);
const E4M3_FIRST_NORMAL = memory.data<u32>([0x00080008, 0x00080008, 0x00080008, 0x00080008]);

/** What is too large becomes the largest finite value. */
export function bf16ToE4M3(from: usize, to: usize, count: usize): void {
  bf16ToF8(from, to, count, BF16_E4M3_MOST, BF16_E4M3_HALF, E4M3_SUBNORMAL, E4M3_FIRST_NORMAL, 4);
}

const BF16_E5M2_MOST = memory.data<u32>([0x47804780, 0x47804780, 0x47804780, 0x47804780]);
const BF16_E5M2_HALF = memory.data<u32>([0xc80fc80f, 0xc80fc80f, 0xc80fc80f, 0xc80fc80f]);
const E5M2_SUBNORMAL = memory.data<u32>([0x43000000, 0x43000000, 0x43000000, 0x43000000]);
const E5M2_FIRST_NORMAL = memory.data<u32>([0x00040004, 0x00040004, 0x00040004, 0x00040004]);

/** What is too large becomes infinity. */
export function bf16ToE5M2(from: usize, to: usize, count: usize): void {
  bf16ToF8(from, to, count, BF16_E5M2_MOST, BF16_E5M2_HALF, E5M2_SUBNORMAL, E5M2_FIRST_NORMAL, 5);
}

// @ts-ignore: decorator
@inline
function bf16ToF8(
  from: usize,
  to: usize,
  count: usize,
  mostAt: usize,
  halfAt: usize,
  unitAt: usize,
  firstAt: usize,
  shift: i32,
): void {
  const magnitude = v128.load(BF16_MAGNITUDE);
  const infinity = v128.load(BF16_INFINITY);
  const most = v128.load(mostAt);
  const one = v128.load(BF16_ONE);
  const half = v128.load(halfAt);
  const unit = v128.load(unitAt);
  const first = v128.load(firstAt);
  const sign = v128.load(BYTE_SIGN);
  for (const end = from + count * 2; from < end; from += 32, to += 16) {
    const a = v128.load(from);
    const b = v128.load(from, 16);
    const codes = i8x16.narrow_i16x8_u(
      codeOfBf16(a, shift, magnitude, infinity, most, one, half, unit, first),
      codeOfBf16(b, shift, magnitude, infinity, most, one, half, unit, first),
    );
    v128.store(to, v128.or(codes, v128.and(i8x16.narrow_i16x8_s(a, b), sign)));
  }
}

/**
 * The code of the magnitude. A normal one is rounded as an integer; a subnormal one as a float, by a sum with the unit. Below
 * the first normal one the former is the smaller, from there on it is at least that: so no choice is needed.
 */
// @ts-ignore: decorator
@inline
function codeOfBf16(
  value: v128,
  shift: i32,
  magnitudeBits: v128,
  infinity: v128,
  most: v128,
  one: v128,
  half: v128,
  unit: v128,
  first: v128,
): v128 {
  const magnitude = v128.and(value, magnitudeBits);
  const clamped = i16x8.min_s(magnitude, most);
  const odd = v128.and(i16x8.shr_u(clamped, shift), one);
  const normal = i16x8.shr_s(i16x8.add(i16x8.add(clamped, half), odd), shift);
  const zero = i64x2.splat(0);
  const subnormal = i16x8.narrow_i32x4_s(
    i32x4.sub(f32x4.add(interleaved16(zero, clamped), unit), unit),
    i32x4.sub(f32x4.add(interleavedEnd16(zero, clamped), unit), unit),
  );
  const code = i16x8.max_s(normal, i16x8.min_s(subnormal, first));
  return v128.or(code, i16x8.shr_u(i16x8.gt_s(magnitude, infinity), 9));
}
