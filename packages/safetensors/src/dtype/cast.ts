import { quote, SafetensorsError } from "../errors.ts";
import { type Codes, castCodes, isCodes, nearestCodes } from "./cast-nearest.ts";
import { NO_CODE, packCodes } from "./cast-small.ts";
import { randomNumbers, roundStochastically } from "./cast-stochastic.ts";
import { toFloat64 } from "./cast-wide.ts";
import { toFloat32 } from "./decode.ts";
import { DTYPES, type Dtype } from "./dtype.ts";
import { asTypedArray } from "./typed-array.ts";

/** The dtypes that floats are cast between: all that are floats, but for complex ones. */
export type FloatDtype =
  | "F64"
  | "F32"
  | "F16"
  | "BF16"
  | "F8_E4M3"
  | "F8_E5M2"
  | "F8_E4M3FNUZ"
  | "F8_E5M2FNUZ"
  | "F8_E8M0"
  | "F6_E2M3"
  | "F6_E3M2"
  | "F4";

/** How floats are cast. */
export interface CastOptions {
  /**
   * What becomes of values too large for the dtype, and of infinities. `saturate`: the largest finite value.
   * `nonsaturate`: infinity, or NaN where there is none. As in PyTorch (from 2.13 on) F8_E4M3 saturates unless said
   * otherwise, the rest does not; in ml_dtypes F8_E4M3 does not either. F6 and F4 have nothing else: they always saturate.
   * F64 holds everything, and keeps infinities.
   */
  readonly overflow?: "saturate" | "nonsaturate" | undefined;
  /**
   * A seed, 32 bits: rounds up or down by chance, the likelier the nearer, so that the mean is kept. The same seed gives the
   * same result. Unless given, rounds to nearest, ties to even.
   */
  readonly stochastic?: number | undefined;
}

/** Whether a dtype is one of those that `castFloats` takes and gives. */
export function isFloatDtype(dtype: Dtype): dtype is FloatDtype {
  return DTYPES[dtype]?.kind === "float";
}

/**
 * Packed floats of one dtype as another's, rounded once, to nearest, ties to even. (PyTorch and ml_dtypes round F64 twice,
 * over F32.) A NaN stays a NaN, but not its payload; F6 and F4 have none, and refuse it. A dtype without a negative zero
 * makes it positive. F8_E8M0 follows PyTorch: a value's sign is dropped, ties go up, zero and all below become
 * 2^-127, and what is more than that at least 2^-126.
 *
 * Sources: OCP 8-bit Floating Point (OFP8) 1.0; OCP Microscaling Formats (MX) 1.0.
 *
 * @param bytes whole elements, little-endian; in whole bytes on both sides
 * @returns new memory
 * @throws `SIZE_MISMATCH` if the bytes are no whole elements, or the result no whole bytes; `UNSUPPORTED` for NaN as F6 or
 * F4, and for dtypes that are no floats
 */
export function castFloats(
  from: FloatDtype,
  to: FloatDtype,
  bytes: Uint8Array,
  options?: CastOptions,
): Uint8Array<ArrayBuffer> {
  return floatCaster(from, to, options)(bytes);
}

/**
 * Does what `castFloats` does to a tensor that comes in pieces: the random numbers go on from one to the next.
 *
 * @param tensor its name, for errors; and tensors cast with the same seed get other random numbers each
 */
export function floatCaster(
  from: FloatDtype,
  to: FloatDtype,
  options: CastOptions = {},
  tensor?: string,
): (bytes: Uint8Array) => Uint8Array<ArrayBuffer> {
  for (const dtype of [from, to]) {
    if (!isFloatDtype(dtype))
      throw new SafetensorsError("UNSUPPORTED", `${dtype as string} is no dtype of floats: it is not cast`);
  }
  const { overflow = to === "F8_E4M3" ? "saturate" : "nonsaturate", stochastic } = options;
  const saturates = overflow === "saturate";
  const random = stochastic === undefined ? undefined : randomNumbers(stochastic, tensor ?? "");
  let done = 0;
  return (bytes) => {
    const count = wholeElements(from, to, bytes);
    if (from === to) return new Uint8Array(bytes);
    if (to === "F64") return bytesOf(toFloat64(toFloat32(from, bytes, count)));
    let codes: Codes;
    if (!random && isCodes(from) && to !== "F32") {
      codes = castCodes(from, asTypedArray(from, bytes, count), to, saturates);
    } else {
      const values =
        from === "F32" || from === "F64" ? asTypedArray(from, bytes, count) : toFloat32(from, bytes, count);
      codes = nearestCodes(values, to, saturates);
      if (random) roundStochastically(values, codes, to, random);
    }
    const missing = DTYPES[to].bits < 8 ? codes.indexOf(NO_CODE) : -1;
    if (missing >= 0) {
      const of = tensor === undefined ? "" : ` of tensor ${quote(tensor)}`;
      const message = `element ${done + missing}${of} is NaN, which ${to} has no code for`;
      throw new SafetensorsError("UNSUPPORTED", message, tensor === undefined ? {} : { tensor });
    }
    done += count;
    return bytesOf(codes instanceof Uint8Array ? packCodes(codes, DTYPES[to].bits) : codes);
  };
}

const bytesOf = (array: Codes | Float64Array): Uint8Array<ArrayBuffer> =>
  new Uint8Array(array.buffer as ArrayBuffer);

/** The number of elements that fill the bytes. */
function wholeElements(from: FloatDtype, to: FloatDtype, bytes: Uint8Array): number {
  const count = (bytes.length * 8) / DTYPES[from].bits;
  if (!Number.isInteger(count))
    throw new SafetensorsError("SIZE_MISMATCH", `${bytes.length} bytes are no whole elements of ${from}`);
  if ((count * DTYPES[to].bits) % 8 !== 0)
    throw new SafetensorsError("SIZE_MISMATCH", `${count} elements of ${to} are no whole bytes`);
  return count;
}
