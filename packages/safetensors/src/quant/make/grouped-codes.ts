import { castFloats, type FloatDtype } from "../../dtype/cast.ts";
import { toFloat32 } from "../../dtype/decode.ts";
import { DTYPES, type Dtype } from "../../dtype/dtype.ts";
import { SafetensorsError } from "../../errors.ts";
import type { PartData } from "../weight.ts";

/**
 * A weight as integers, before they are packed: `w[n, k] = (codes[n, k] - zeros[g, n]) * scales[g, n]` with `g` the group
 * of column k.
 */
export interface GroupedCodes {
  /** `[N, K]`: outputs, inputs. */
  readonly shape: readonly [rows: number, columns: number];
  readonly bits: number;
  /** `[N, K]`, each from 0 to 2^bits - 1. */
  readonly codes: Uint8Array;
  /** `[G, N]` */
  readonly scales: Float32Array;
  /** `[G, N]`, each from 0 to 2^bits - 1. */
  readonly zeros: Uint8Array;
  /** How many neighbouring columns share a group, or the group of each column. */
  readonly groups: number | Int32Array;
}

/** The number of groups that the scales are for. */
export function groupCount({ scales, shape: [rows] }: GroupedCodes): number {
  return rows === 0 ? 0 : scales.length / rows;
}

/** The memory of an array as a part. */
export function part(dtype: Dtype, shape: readonly number[], array: ArrayBufferView): PartData {
  return {
    dtype,
    shape,
    bytes: new Uint8Array(array.buffer, array.byteOffset, array.byteLength) as Uint8Array,
  };
}

/**
 * Scales in the dtype that they are stored in, rounded to nearest.
 *
 * @throws `UNSUPPORTED` if one is too large for it
 */
export function scalesPart(scales: Float32Array, shape: readonly number[], dtype: FloatDtype): PartData {
  const bytes = castFloats("F32", dtype, bytesOf(scales));
  const tooLarge = toFloat32(dtype, bytes, scales.length).findIndex((scale) => !Number.isFinite(scale));
  if (tooLarge < 0) return { dtype, shape, bytes };
  const text = `a scale of ${scales[tooLarge]} is too large for ${dtype}, which this scheme stores scales in`;
  throw new SafetensorsError("UNSUPPORTED", text);
}

/** Values rounded to nearest in another dtype; infinite if they are too large for it. */
export function roundedTo(dtype: FloatDtype, values: Float32Array): Float32Array {
  return dtype === "F32"
    ? values
    : toFloat32(dtype, castFloats("F32", dtype, bytesOf(values)), values.length);
}

const bytesOf = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** The dtype for scales that a scheme keeps in the model's: that one, if it has 16 or 32 bits. */
export function modelScaleDtype(dtype: FloatDtype): FloatDtype {
  if (dtype === "F64") return "F32";
  return DTYPES[dtype].bits < 16 ? "BF16" : dtype;
}
