import { MAX_PICKLE_BYTES } from "../limits.ts";
import { readExactly } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { PickleExtent } from "./pickle/extent.ts";

/** Bytes of the first read. */
const FIRST_BYTES = 1 << 12;

/**
 * The bytes from `start` that hold `count` pickles one after the other; what is there if they do not end before `end`.
 * Reads as much as is needed, and less than twice of it.
 */
export async function readPickles(
  source: ByteSource,
  start: number,
  end: number,
  count: number,
  options?: ReadOptions,
): Promise<Uint8Array> {
  const limit = Math.min(end - start, MAX_PICKLE_BYTES);
  const extent = new PickleExtent();
  let bytes = new Uint8Array(0);
  for (let found = 0; found < count; ) {
    if (extent.findEnd(bytes)) found++;
    else if (extent.at >= limit || bytes.length === limit) return bytes;
    else
      bytes = await extended(
        source,
        start,
        bytes,
        Math.min(Math.max(extent.at + FIRST_BYTES, 2 * bytes.length), limit),
        options,
      );
  }
  return bytes.subarray(0, extent.at);
}

/** The first `length` bytes from `start`, of which `bytes` are there. */
async function extended(
  source: ByteSource,
  start: number,
  bytes: Uint8Array,
  length: number,
  options: ReadOptions | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  const more = await readExactly(source, start + bytes.length, length - bytes.length, options);
  const all = new Uint8Array(length);
  all.set(bytes);
  all.set(more, bytes.length);
  return all;
}
