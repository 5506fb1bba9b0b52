import { SafetensorsError } from "../errors.ts";
import { checkOption } from "./option.ts";
import { readInto } from "./read-into.ts";
import { SegmentedBytes } from "./segmented.ts";
import type { ByteSource, ReadOptions } from "./source.ts";

/** Options of `wholeFile`. */
export interface WholeFileOptions extends ReadOptions {
  readonly onProgress?:
    | ((progress: { readonly bytes: number; readonly totalBytes: number }) => void)
    | undefined;
  /** Bytes of a read; 16 MiB unless said otherwise. */
  readonly piece?: number | undefined;
  /** Reads in flight; four unless said otherwise. */
  readonly concurrency?: number | undefined;
  /** Most bytes that the source may have; 64 GiB unless said otherwise. */
  readonly limit?: number | undefined;
  /** Bytes of memory that lie together; 1 GiB unless said otherwise. Views across two such segments are copies. */
  readonly segment?: number | undefined;
}

/**
 * Reads everything once, with large reads side by side, and returns it as a source in memory: faster than many small
 * reads on disks on a network. The original is closed, also when reading fails.
 *
 * @throws `LIMIT_EXCEEDED`, `OUT_OF_RANGE` for options that are not whole numbers, the reason of the signal, and what
 *   the source throws
 */
export async function wholeFile(source: ByteSource, options: WholeFileOptions = {}): Promise<ByteSource> {
  try {
    return await readAll(source, options);
  } finally {
    await source.close?.();
  }
}

async function readAll(
  source: ByteSource,
  {
    signal: callers,
    onProgress,
    piece = 16 << 20,
    concurrency = 4,
    // A size may be a lie, and memory is taken as the file comes: so lies end somewhere.
    limit = 64 * 2 ** 30,
    segment = 2 ** 30,
  }: WholeFileOptions,
): Promise<ByteSource> {
  checkOption("piece", piece, 1);
  checkOption("segment", segment, 1);
  checkOption("concurrency", concurrency, 1);
  const { size, name } = source;
  if (!(size <= limit)) {
    const text = `${name ?? "the source"} has ${size} bytes, more than the ${limit} that may be read into memory`;
    throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "limit" });
  }
  const memory = new SegmentedBytes(size, segment, name);
  const stopper = new AbortController();
  const signal = callers ? AbortSignal.any([callers, stopper.signal]) : stopper.signal;
  let next = 0;
  let bytes = 0;
  const worker = async (): Promise<void> => {
    while (next < size) {
      signal.throwIfAborted();
      const start = next;
      const room = memory.room(start, piece);
      next += room.length;
      await readInto(source, start, room, { signal });
      bytes += room.length;
      onProgress?.({ bytes, totalBytes: size });
    }
  };
  const failed = (error: unknown): void => stopper.abort(error);
  // After a failure too: the source is closed next, and its reads have to end before.
  await Promise.all(
    Array.from({ length: Math.min(concurrency, Math.ceil(size / Math.min(piece, segment))) }, () =>
      worker().catch(failed),
    ),
  );
  signal.throwIfAborted();
  return memory;
}
