import { DTYPES, type Dtype, toFloat32 } from "safetensors.js/dtype";

/** The values in packed bytes of a dtype as numbers: 64-bit integers as doubles, a complex value as two. */
export function numbersOf(dtype: Dtype, bytes: Uint8Array): ArrayLike<number> {
  const { bits } = DTYPES[dtype];
  const count = Math.floor((bytes.length * 8) / bits);
  if (dtype === "F64") return new Float64Array(aligned(bytes, 8));
  if (dtype === "I64") return Float64Array.from(new BigInt64Array(aligned(bytes, 8)), Number);
  if (dtype === "U64") return Float64Array.from(new BigUint64Array(aligned(bytes, 8)), Number);
  if (dtype === "I32") return new Int32Array(aligned(bytes, 4));
  if (dtype === "U32") return new Uint32Array(aligned(bytes, 4));
  return toFloat32(dtype, bytes, count);
}

/** A copy, which begins where its memory begins. */
function aligned(bytes: Uint8Array, size: number): ArrayBuffer {
  return new Uint8Array(bytes.subarray(0, bytes.length - (bytes.length % size))).buffer;
}
