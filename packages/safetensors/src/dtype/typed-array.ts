import { DTYPES, type Dtype, type DtypeArrays } from "./dtype.ts";

/**
 * The first `count` elements of packed little-endian bytes as the typed array of the dtype: a view where the bytes are
 * aligned, a copy where not. The caller has checked that there are enough bytes.
 */
export function asTypedArray<D extends Dtype>(dtype: D, bytes: Uint8Array, count: number): DtypeArrays[D] {
  const { array: TypedArray, bits } = DTYPES[dtype];
  const size = TypedArray.BYTES_PER_ELEMENT;
  const byteLength = Math.ceil((count * bits) / 8);
  // Not `slice`: on Node's Buffer, a Uint8Array too, it does not copy.
  const aligned = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes.subarray(0, byteLength));
  return new TypedArray(
    aligned.buffer as ArrayBuffer,
    aligned.byteOffset,
    byteLength / size,
  ) as unknown as DtypeArrays[D];
}
