import { castFloats } from "../../../dtype/cast.ts";
import { nearestInteger } from "./nearest.ts";

/**
 * What quantising does to runs: `length` neighbours that share a scale. An array is a whole number of them, of at least one
 * element each; but for the first function all elements are finite.
 */
export interface RunKernels {
  /** Whether no value is NaN or infinite. */
  areFinite(values: Float32Array): boolean;
  /** The largest magnitude of each run. */
  largest(values: Float32Array, length: number): Float32Array;
  /** The least and the greatest value of each run. A zero is positive. */
  ranges(values: Float32Array, length: number): Ranges;
  /** Each value divided by its run's divisor, as F8_E4M3. A zero becomes positive. */
  divideToE4M3(values: Float32Array, length: number, divisors: Float32Array): Uint8Array;
  /** Each value times its run's factor, as F8_E4M3. */
  multiplyToE4M3(values: Float32Array, length: number, factors: Float32Array): Uint8Array;
  /** `round(value / scale + before) + after` in 32-bit floats, ties to even, kept to 0 ... top. NaN, of zero by zero, becomes 0. */
  codes(values: Float32Array, length: number, steps: RunSteps, top: number): Uint8Array;
}

/** The least and the greatest value of each run. */
export interface Ranges {
  readonly min: Float32Array;
  readonly max: Float32Array;
}

/** For each run what its values are divided by, and what is added before and after they are rounded. */
export interface RunSteps {
  readonly scales: Float32Array;
  readonly before: Float32Array;
  readonly after: Float32Array;
}

/** Elements that are cast at once, about. */
const PANEL = 1 << 16;

/** In plain JavaScript: what the kernels are to do. */
export const plainRuns: RunKernels = {
  areFinite,

  largest(values, length) {
    const found = new Float32Array(values.length / length);
    for (let run = 0; run < found.length; run++)
      found[run] = largestIn(values, run * length, (run + 1) * length);
    return found;
  },

  ranges(values, length) {
    const min = new Float32Array(values.length / length);
    const max = new Float32Array(min.length);
    for (let run = 0, at = 0; run < min.length; run++) {
      let low = values[at]!;
      let high = low;
      for (const end = at + length; at < end; at++) {
        const value = values[at]!;
        if (value < low) low = value;
        if (value > high) high = value;
      }
      min[run] = low + 0;
      max[run] = high + 0;
    }
    return { min, max };
  },

  divideToE4M3: (values, length, divisors) =>
    toE4M3(values, length, (scaled, at, run) => {
      const divisor = divisors[run]!;
      for (let i = 0; i < scaled.length; i++) scaled[i] = Math.fround(values[at + i]! / divisor) + 0;
    }),

  multiplyToE4M3: (values, length, factors) =>
    toE4M3(values, length, (scaled, at, run) => {
      const factor = factors[run]!;
      for (let i = 0; i < scaled.length; i++) scaled[i] = values[at + i]! * factor;
    }),

  codes(values, length, { scales, before, after }, top) {
    const codes = new Uint8Array(values.length);
    for (let run = 0, at = 0; run < scales.length; run++) {
      const scale = scales[run]!;
      const first = before[run]!;
      const last = after[run]!;
      for (const end = at + length; at < end; at++) {
        const code = nearestInteger(Math.fround(Math.fround(values[at]! / scale) + first)) + last;
        codes[at] = Math.min(Math.max(code, 0), top);
      }
    }
    return codes;
  },
};

/**
 * The codes of values after scaling, a panel of runs at a time, as a cast has a cost of its own.
 *
 * @param scale puts the scaled values of a run, which begins at `at`, into memory of its length
 */
function toE4M3(
  values: Float32Array,
  length: number,
  scale: (scaled: Float32Array, at: number, run: number) => void,
): Uint8Array {
  const codes = new Uint8Array(values.length);
  const panel = new Float32Array(Math.max(1, Math.floor(PANEL / length)) * length);
  for (let start = 0; start < values.length; start += panel.length) {
    const count = Math.min(panel.length, values.length - start);
    for (let at = 0; at < count; at += length)
      scale(panel.subarray(at, at + length), start + at, (start + at) / length);
    codes.set(castFloats("F32", "F8_E4M3", new Uint8Array(panel.buffer, 0, count * 4)), start);
  }
  return codes;
}

/** Zero times a number is zero, but of NaN and infinities NaN: four sums side by side take a fifth of the time of asking each. */
export function areFinite(values: Float32Array): boolean {
  let [a, b, c, d] = [0, 0, 0, 0];
  const whole = values.length - (values.length % 4);
  for (let i = 0; i < whole; i += 4) {
    a += values[i]! * 0;
    b += values[i + 1]! * 0;
    c += values[i + 2]! * 0;
    d += values[i + 3]! * 0;
  }
  for (let i = whole; i < values.length; i++) a += values[i]! * 0;
  return !Number.isNaN(a + b + c + d);
}

/** The largest magnitude among values from `start` to `end`. */
export function largestIn(values: Float32Array, start = 0, end: number = values.length): number {
  let amax = 0;
  for (let i = start; i < end; i++) {
    const magnitude = Math.abs(values[i]!);
    if (magnitude > amax) amax = magnitude;
  }
  return amax;
}
