import { DTYPES, elementCount } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { byteSwapped } from "../source/byte-swapped.ts";
import type { ByteSource } from "../source/source.ts";
import { contiguousStrides, type StridedView } from "../view/view.ts";
import { type NpyHeader, readNpyHeader } from "./header.ts";

/** An array as it lies in a file, header included. */
export interface StoredArray {
  readonly name: string;
  readonly source: ByteSource;
  /** Where it begins in the source. */
  readonly offset: number;
  readonly size: number;
  /** Its first bytes, as many as asked for. */
  read(length: number): Promise<Uint8Array>;
}

/** Reads the header of an array: where its elements are. Errors name the array. */
export async function readArray(array: StoredArray): Promise<StridedView> {
  try {
    return viewOf(array, await readNpyHeader(array.read, array.size));
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    const details = { ...error.details, tensor: array.name, cause: error };
    throw new SafetensorsError(error.code, `array ${quote(array.name)}: ${error.reason}`, details);
  }
}

function viewOf({ source, offset }: StoredArray, header: NpyHeader): StridedView {
  const { dtype, shape, fortranOrder, swappedBytes, dataOffset } = header;
  const strides = fortranOrder ? contiguousStrides(shape.toReversed()).reverse() : contiguousStrides(shape);
  const start = offset + dataOffset;
  if (swappedBytes === 0) return { source, dtype, shape, strides, bitOffset: start * 8 };
  const end = start + (elementCount(shape) * DTYPES[dtype].bits) / 8;
  return { source: byteSwapped(source, swappedBytes, start, end), dtype, shape, strides, bitOffset: 0 };
}
