import { DTYPES, type Dtype } from "./dtype.ts";
import { fromFloat32Bits, WIDEN } from "./small-float.ts";

/** The codes of a float dtype of at most 16 bits, as its decoder has them. */
export interface FloatCodes {
  /** The finite values that are not negative, in their order, which is that of their codes: 0, 1, 2 ... */
  readonly magnitudes: Float64Array;
  /** The bit that makes a code negative; zero where there is none. */
  readonly sign: number;
  /** Whether there is a negative zero, rather than a NaN in its place. */
  readonly signedZero: boolean;
  /** What follows the largest finite code: infinity, else NaN; where there is neither, that code itself. */
  readonly beyond: number;
  /** A NaN, if there is one. */
  readonly nan: number | undefined;
}

const known = new Map<Dtype, FloatCodes>();

/** Asks the decoder for all codes of a dtype, once. */
export function codesOf(dtype: Dtype): FloatCodes {
  let codes = known.get(dtype);
  if (!codes) {
    codes = decodeAll(dtype);
    known.set(dtype, codes);
  }
  return codes;
}

function decodeAll(dtype: Dtype): FloatCodes {
  const decode = (code: number) => fromFloat32Bits(WIDEN[dtype]!(code));
  const sign = dtype === "F8_E8M0" ? 0 : 2 ** (DTYPES[dtype].bits - 1);
  const all = Float64Array.from({ length: sign || 256 }, (_, code) => decode(code));
  const finite = all.findIndex((value) => !Number.isFinite(value));
  const magnitudes = finite < 0 ? all : all.subarray(0, finite);
  const signedZero = !Number.isNaN(decode(sign));
  // The highest code of all is a NaN, or (FNUZ) the one that would be a negative zero, or none is.
  const nan = [all.length - 1, sign].find((code) => Number.isNaN(decode(code)));
  return { magnitudes, sign, signedZero, beyond: finite < 0 ? (nan ?? all.length - 1) : finite, nan };
}
