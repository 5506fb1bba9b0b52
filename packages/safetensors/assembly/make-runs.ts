import { MAGNITUDE } from "./lanes";

// What quantising does to runs: so many neighbours, one after the other in memory, that share a scale.

/** The largest magnitude of each run; NaN if it has one. Magnitudes are compared as integers, among which NaN is the largest. */
export function largestOfRuns(values: usize, runs: usize, length: usize, out: usize): void {
  const magnitude = v128.load(MAGNITUDE);
  for (const last = out + runs * 4; out < last; out += 4) {
    const end = values + length * 4;
    let a = i32x4.splat(0);
    let b = a;
    for (; values + 32 <= end; values += 32) {
      a = i32x4.max_s(a, v128.and(v128.load(values), magnitude));
      b = i32x4.max_s(b, v128.and(v128.load(values, 16), magnitude));
    }
    for (; values < end; values += 4) a = i32x4.max_s(a, v128.and(v128.load32_zero(values), magnitude));
    a = i32x4.max_s(a, b);
    a = i32x4.max_s(a, v128.shuffle<u64>(a, a, 1, 0));
    a = i32x4.max_s(a, v128.shuffle<u32>(a, a, 1, 0, 3, 2));
    v128.store_lane<u32>(out, a, 0);
  }
}

/** The least and the greatest of each run. A zero is positive. */
export function rangesOfRuns(values: usize, runs: usize, length: usize, least: usize, greatest: usize): void {
  for (const last = least + runs * 4; least < last; least += 4, greatest += 4) {
    const end = values + length * 4;
    let low = v128.load32_splat(values);
    let high = low;
    for (; values + 16 <= end; values += 16) {
      const four = v128.load(values);
      low = f32x4.pmin(low, four);
      high = f32x4.pmax(high, four);
    }
    low = f32x4.pmin(low, v128.shuffle<u64>(low, low, 1, 0));
    high = f32x4.pmax(high, v128.shuffle<u64>(high, high, 1, 0));
    let lowest = min<f32>(f32x4.extract_lane(low, 0), f32x4.extract_lane(low, 1));
    let highest = max<f32>(f32x4.extract_lane(high, 0), f32x4.extract_lane(high, 1));
    for (; values < end; values += 4) {
      lowest = min<f32>(lowest, load<f32>(values));
      highest = max<f32>(highest, load<f32>(values));
    }
    store<f32>(least, lowest + 0);
    store<f32>(greatest, highest + 0);
  }
}

/** Divides each run, in its place, by a number of its own. A zero becomes positive. */
export function divideRuns(values: usize, runs: usize, length: usize, divisors: usize): void {
  const zero = f32x4.splat(0);
  for (const last = divisors + runs * 4; divisors < last; divisors += 4) {
    const end = values + length * 4;
    const divisor = v128.load32_splat(divisors);
    for (; values + 16 <= end; values += 16)
      v128.store(values, f32x4.add(f32x4.div(v128.load(values), divisor), zero));
    for (; values < end; values += 4) store<f32>(values, load<f32>(values) / load<f32>(divisors) + 0);
  }
}

/** Multiplies each run, in its place, by a number of its own. */
export function multiplyRuns(values: usize, runs: usize, length: usize, factors: usize): void {
  for (const last = factors + runs * 4; factors < last; factors += 4) {
    const end = values + length * 4;
    const factor = v128.load32_splat(factors);
    for (; values + 16 <= end; values += 16) v128.store(values, f32x4.mul(v128.load(values), factor));
    for (; values < end; values += 4) store<f32>(values, load<f32>(values) * load<f32>(factors));
  }
}

/**
 * The codes of runs, a byte each: `round(v / scale + before) + after`, ties to even, kept to 0 ... top. Each run has a scale,
 * a number before and one after, all floats. What is no number becomes 0.
 */
export function codesOfRuns(
  values: usize,
  runs: usize,
  length: usize,
  scales: usize,
  befores: usize,
  afters: usize,
  top: f32,
  out: usize,
): void {
  const zero = f32x4.splat(0);
  const highest = f32x4.splat(top);
  for (const last = scales + runs * 4; scales < last; scales += 4, befores += 4, afters += 4) {
    const end = values + length * 4;
    const scale = v128.load32_splat(scales);
    const before = v128.load32_splat(befores);
    const after = v128.load32_splat(afters);
    for (; values + 64 <= end; values += 64, out += 16) {
      const a = codesOfFour(v128.load(values), scale, before, after, zero, highest);
      const b = codesOfFour(v128.load(values, 16), scale, before, after, zero, highest);
      const c = codesOfFour(v128.load(values, 32), scale, before, after, zero, highest);
      const d = codesOfFour(v128.load(values, 48), scale, before, after, zero, highest);
      v128.store(
        out,
        i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d)),
      );
    }
    for (; values < end; values += 4, out++) {
      const four = codesOfFour(v128.load32_splat(values), scale, before, after, zero, highest);
      store<u8>(out, <u8>i32x4.extract_lane(four, 0));
    }
  }
}

// @ts-ignore: decorator
@inline
function codesOfFour(values: v128, scale: v128, before: v128, after: v128, zero: v128, highest: v128): v128 {
  const steps = f32x4.nearest(f32x4.add(f32x4.div(values, scale), before));
  // Both take the first where the second is no number.
  const code = f32x4.pmin(highest, f32x4.pmax(zero, f32x4.add(steps, after)));
  // The unit of floats from 2^23 on is 1, so that the integer is in the lowest bits.
  return v128.and(f32x4.add(code, f32x4.splat(0x800000)), i32x4.splat(0xff));
}
