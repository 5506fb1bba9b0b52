import { toFloat32 } from "../dtype/decode.ts";
import { DTYPES, type Dtype } from "../dtype/dtype.ts";

/** Elements decoded at once, so that what lies between the memories is small. A multiple of 8, for whole bytes. */
const STEP = 64 << 10;

/** Whether the packed bytes of the dtype already are its elements as 32-bit floats. */
export function isFloat32(dtype: Dtype): boolean {
  return DTYPES[dtype].array === Float32Array;
}

/** Fills `target` with the elements of a dtype that is not `isFloat32`, one float each. See `toFloat32`. */
export function decodeInto(dtype: Dtype, bytes: Uint8Array, target: Float32Array): void {
  const { bits } = DTYPES[dtype];
  for (let at = 0; at < target.length; at += STEP) {
    const count = Math.min(STEP, target.length - at);
    target.set(toFloat32(dtype, bytes.subarray((at * bits) / 8), count), at);
  }
}
