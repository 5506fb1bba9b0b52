import { DTYPES, elementCount } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { byteSwapped } from "../source/byte-swapped.ts";
import type { ByteSource } from "../source/source.ts";
import { contiguousStrides, type RangeChecksum, type StridedView } from "../view/view.ts";
import { crc32, crc32Before } from "../zip/crc32.ts";
import { type NpyHeader, readNpyHeader } from "./header.ts";

/** An array as it lies in a file, header included. */
export interface StoredArray {
  readonly name: string;
  readonly source: ByteSource;
  /** Where it begins in the source. */
  readonly offset: number;
  readonly size: number;
  /** That of the member of an archive that it is, if it is stored as it is. */
  readonly checksum?: Omit<RangeChecksum, "start" | "length">;
  /** Its first bytes, as many as asked for. */
  read(length: number): Promise<Uint8Array>;
}

/** Reads the header of an array: where its elements are. Errors name the array. */
export async function readArray(array: StoredArray): Promise<StridedView> {
  let head: Uint8Array = new Uint8Array(0);
  const read = async (length: number): Promise<Uint8Array> => {
    head = await array.read(length);
    return head;
  };
  try {
    const header = await readNpyHeader(read, array.size);
    return viewOf(array, header, head.subarray(0, header.dataOffset));
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    const details = { ...error.details, tensor: array.name, cause: error };
    throw new SafetensorsError(error.code, `array ${quote(array.name)}: ${error.reason}`, details);
  }
}

function viewOf(array: StoredArray, header: NpyHeader, head: Uint8Array): StridedView {
  const { source, offset } = array;
  const { dtype, shape, fortranOrder, swappedBytes, dataOffset } = header;
  const strides = fortranOrder ? contiguousStrides(shape.toReversed()).reverse() : contiguousStrides(shape);
  const start = offset + dataOffset;
  if (swappedBytes === 0) {
    const checksum = checksumOf(array, head);
    return { source, dtype, shape, strides, bitOffset: start * 8, ...(checksum && { checksum }) };
  }
  const end = start + (elementCount(shape) * DTYPES[dtype].bits) / 8;
  return { source: byteSwapped(source, swappedBytes, start, end), dtype, shape, strides, bitOffset: 0 };
}

/** The checksum of the elements alone: the archive has that of the member, which begins with the header. */
function checksumOf({ checksum, offset, size }: StoredArray, head: Uint8Array): RangeChecksum | undefined {
  if (!checksum) return undefined;
  const length = size - head.length;
  const sum = (checksum.crc32 ^ crc32Before(crc32(head), length)) >>> 0;
  return { ...checksum, start: offset + head.length, length, crc32: sum };
}
