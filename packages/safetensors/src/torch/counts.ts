import { readInto } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";

/** Bytes of the number of elements that stands before the data of a storage. */
export const COUNT_BYTES = 8;

/** Numbers nearer to each other than this are read together: a read costs more than these bytes. */
const NEAR_BYTES = 1 << 15;
const WINDOW_BYTES = 1 << 20;

/** Reads in flight at once, for sources that take their time. */
const CONCURRENT_READS = 8;

/** A little-endian number of 64 bits; above 2^53 it is not exact, but stays above. */
export function countAt(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}

/** Reads the numbers at these offsets, which ascend. */
export async function readCounts(
  source: ByteSource,
  offsets: Float64Array,
  options?: ReadOptions,
): Promise<Float64Array> {
  const counts = new Float64Array(offsets.length);
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < offsets.length) {
      const first = next;
      next = windowEnd(offsets, first);
      const start = offsets[first]!;
      const bytes = new Uint8Array(offsets[next - 1]! + COUNT_BYTES - start);
      const view = new DataView(bytes.buffer);
      const end = next;
      await readInto(source, start, bytes, options);
      for (let index = first; index < end; index++) counts[index] = countAt(view, offsets[index]! - start);
    }
  };
  try {
    await Promise.all(Array.from({ length: CONCURRENT_READS }, work));
  } catch (error) {
    // Nothing more is to be read by the others.
    next = offsets.length;
    throw error;
  }
  return counts;
}

/** The first number that is not read together with the one at `first`. */
function windowEnd(offsets: Float64Array, first: number): number {
  let end = first + 1;
  while (
    end < offsets.length &&
    offsets[end]! - offsets[end - 1]! <= NEAR_BYTES &&
    offsets[end]! - offsets[first]! < WINDOW_BYTES
  ) {
    end++;
  }
  return end;
}
