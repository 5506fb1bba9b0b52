import type { FloatDtype } from "../../dtype/cast.ts";
import { roundedTo } from "./grouped-codes.ts";
import { nearestInteger } from "./kernels/nearest.ts";
import type { Ranges } from "./kernels/runs.ts";

/** Scales and zero points of all groups: `w = (code - zero) * scale`. */
export interface IntegerGrid {
  /** `[G, N]` */
  readonly scales: Float32Array;
  /** `[G, N]`, from 0 to 2^bits - 1. */
  readonly zeros: Uint8Array;
}

/** How a family of schemes chooses scales and zero points for the ranges of groups. */
export type IntegerRule = (ranges: Ranges, bits: number, dtype: FloatDtype) => IntegerGrid;

/** GPTQ: the 2^bits - 1 steps span -amax to amax, and the zero point is in the middle. Of zeros the scale is that of amax 1. */
export const gptqSymmetric: IntegerRule = ({ min, max }, bits) => {
  const steps = 2 ** bits - 1;
  const scales = max.map((high, i) => (2 * (Math.max(high, -min[i]!) || 1)) / steps);
  return { scales, zeros: new Uint8Array(scales.length).fill(2 ** (bits - 1)) };
};

/**
 * GPTQ: the steps span least to greatest, with zero among them. A zero point of 0 becomes 1 and the steps one fewer: as it
 * is stored less one, readers that do not mask it would otherwise take it for 2^bits.
 */
export const gptqAsymmetric: IntegerRule = ({ min, max }, bits) => {
  const steps = 2 ** bits - 1;
  const zeros = new Uint8Array(max.length);
  const scales = max.map((greatest, i) => {
    const isZero = greatest === 0 && min[i] === 0;
    const low = isZero ? -1 : Math.min(min[i]!, 0);
    const high = isZero ? 1 : Math.max(greatest, 0);
    const scale = Math.fround(Math.fround(high - low) / steps);
    const zero = nearestInteger(Math.fround(-low / scale));
    zeros[i] = zero || 1;
    return zero === 0 ? high / (steps - 1) : scale;
  });
  return { scales, zeros };
};

/** AWQ: the steps span least to greatest, which need not have zero among them; the zero point is kept to the codes. */
export const awqAsymmetric: IntegerRule = ({ min, max }, bits) => {
  const steps = 2 ** bits - 1;
  const least = Math.fround(1e-5);
  const scales = max.map((high, i) => Math.max(Math.fround(high - min[i]!), least) / steps);
  const zeros = Uint8Array.from(scales, (scale, i) =>
    Math.min(Math.max(-nearestInteger(Math.fround(min[i]! / scale)), 0), steps),
  );
  return { scales, zeros };
};

/** The scale that compressed-tensors has in place of 0: the machine epsilon of its dtype. */
const EPSILON: ReadonlyMap<FloatDtype, number> = new Map([
  ["F32", 2 ** -23],
  ["F16", 2 ** -10],
  ["BF16", 2 ** -7],
]);

/** Scales rounded to the dtype that compressed-tensors computes and stores them in, which is the model's; none is 0. */
export function compressedTensorsScales(scales: Float32Array, dtype: FloatDtype): Float32Array {
  const epsilon = EPSILON.get(dtype)!;
  return roundedTo(dtype, scales).map((scale) => scale || epsilon);
}

/** compressed-tensors: amax lies half a step beyond the last code, 2^(bits - 1) - 1. */
export const compressedTensorsSymmetric: IntegerRule = ({ min, max }, bits, dtype) => {
  const half = (2 ** bits - 1) / 2;
  const scales = max.map((high, i) => Math.max(high, -min[i]!) / half);
  return {
    scales: compressedTensorsScales(scales, dtype),
    zeros: new Uint8Array(scales.length).fill(2 ** (bits - 1)),
  };
};

/** compressed-tensors: the steps span least to greatest, with zero among them; each operation rounded to the dtype. */
export const compressedTensorsAsymmetric: IntegerRule = ({ min, max }, bits, dtype) => {
  const steps = 2 ** bits - 1;
  const middle = 2 ** (bits - 1);
  const round = (values: Float32Array): Float32Array => roundedTo(dtype, values);
  const lows = min.map((low) => Math.min(low, 0));
  const spans = round(max.map((high, i) => Math.max(high, 0) - lows[i]!));
  const scales = round(spans.map((span) => span / steps));
  const shifts = round(lows.map((low, i) => low / scales[i]!));
  const signed = round(shifts.map((shift) => -middle - shift));
  // Where all values are 0, so is the scale, and the quotient is no number: torch makes 0 of it.
  const zeros = Uint8Array.from(signed, (zero) =>
    Number.isNaN(zero) ? middle : Math.min(Math.max(nearestInteger(zero) + middle, 0), steps),
  );
  return { scales: compressedTensorsScales(scales, dtype), zeros };
};
