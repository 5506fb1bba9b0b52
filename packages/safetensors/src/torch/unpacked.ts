import { SafetensorsError } from "../errors.ts";
import { DATA_INFLATE_ALLOWANCE, MAX_INFLATE_RATIO } from "../limits.ts";
import { checkRange } from "../source/range.ts";
import { readExactly } from "../source/read-into.ts";
import { SegmentedBytes } from "../source/segmented.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import type { Compression, Decompress } from "./compression.ts";
import { MAX_UNPACKED_BYTES } from "./limits.ts";
import { limitError } from "./walk.ts";

/** Compressed bytes of a read, and of a piece for the decompressor, which may make a thousand times as many of them. */
const READ_BYTES = 1 << 20;
const PIECE_BYTES = 1 << 15;

/** Memory is taken in pieces of so many bytes, as the data comes. */
const SEGMENT_BYTES = 16 << 20;

type Format = ConstructorParameters<typeof DecompressionStream>[0];

/** Options of `unpacked`. */
export interface UnpackOptions extends ReadOptions {
  readonly decompress?: Decompress | undefined;
  readonly allowExpansion?: boolean | undefined;
}

/**
 * The bytes of a file that is compressed as a whole, in memory.
 *
 * @throws `UNSUPPORTED` if nobody knows how to undo it, `INVALID_ARCHIVE` if it is damaged, `LIMIT_EXCEEDED` if it
 *   becomes more than `MAX_INFLATE_RATIO` times as large, and what the source throws
 */
export async function unpacked(
  source: ByteSource,
  compression: Compression,
  options: UnpackOptions,
): Promise<ByteSource> {
  const ratio = options.allowExpansion ? Number.POSITIVE_INFINITY : MAX_INFLATE_RATIO;
  const limit = Math.min(Math.max(source.size * ratio, DATA_INFLATE_ALLOWANCE), MAX_UNPACKED_BYTES);
  const feeding = new Feeding(source, options);
  const stream = decompressed(compression, new ReadableStream(feeding, { highWaterMark: 1 }), options);
  const memory = new SegmentedBytes(limit, SEGMENT_BYTES, source.name);
  const reader = stream.getReader();
  let size = 0;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      const piece = next.value;
      if (piece.length > limit - size) {
        throw limitError(
          "MAX_INFLATE_RATIO",
          `the ${source.size} bytes of ${compression} unpack to over ${limit}`,
        );
      }
      for (let taken = 0; taken < piece.length; ) {
        const room = memory.room(size, piece.length - taken);
        room.set(piece.subarray(taken, taken + room.length));
        taken += room.length;
        size += room.length;
      }
    }
  } catch (cause) {
    if (feeding.failure) throw feeding.failure.error;
    if (cause instanceof SafetensorsError) throw cause;
    throw new SafetensorsError("INVALID_ARCHIVE", `the ${compression} data is damaged or cut off`, { cause });
  } finally {
    // Ends the reads when nothing more is wanted.
    await reader.cancel().catch(() => {});
  }
  return firstBytes(memory, size);
}

function decompressed(
  compression: Compression,
  compressed: ReadableStream<Uint8Array<ArrayBuffer>>,
  options: UnpackOptions,
): ReadableStream<Uint8Array> {
  const decompressor = newDecompressor(compression);
  if (decompressor) return compressed.pipeThrough(decompressor);
  const stream = options.decompress?.(compression, compressed);
  if (stream) return stream;
  const text = `the file is compressed by ${compression}, which cannot be undone here: unpack it and open the file inside`;
  throw new SafetensorsError("UNSUPPORTED", text, { kind: compression });
}

/** The runtime's own: all have gzip and zlib, some have Zstandard. */
function newDecompressor(compression: Compression): DecompressionStream | undefined {
  try {
    return new DecompressionStream((compression === "zlib" ? "deflate" : compression) as Format);
  } catch {
    return undefined;
  }
}

/** Gives the compressed bytes when they are asked for. */
class Feeding {
  readonly #source: ByteSource;
  readonly #options: ReadOptions;
  #offset = 0;
  #bytes = new Uint8Array(0);
  /** Why reading failed: what a stream makes of it differs between runtimes. */
  failure: { readonly error: unknown } | undefined;

  constructor(source: ByteSource, options: ReadOptions) {
    this.#source = source;
    this.#options = options;
  }

  async pull(stream: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): Promise<void> {
    try {
      if (this.#bytes.length === 0) await this.#read();
    } catch (error) {
      this.failure = { error };
      throw error;
    }
    if (this.#bytes.length === 0) return stream.close();
    stream.enqueue(this.#bytes.slice(0, PIECE_BYTES));
    this.#bytes = this.#bytes.subarray(PIECE_BYTES);
  }

  async #read(): Promise<void> {
    const { signal } = this.#options;
    signal?.throwIfAborted();
    const length = Math.min(READ_BYTES, this.#source.size - this.#offset);
    this.#bytes = new Uint8Array(await readExactly(this.#source, this.#offset, length, { signal }));
    this.#offset += length;
  }
}

/** The first bytes of a memory that is larger than what was written to it. */
function firstBytes(memory: SegmentedBytes, size: number): ByteSource {
  const source = {
    size,
    name: memory.name,
    view(offset: number, length: number): Uint8Array {
      checkRange(source, offset, length);
      return memory.view(offset, length);
    },
    async read(offset: number, length: number): Promise<Uint8Array> {
      return source.view(offset, length);
    },
    readInto(offset: number, target: Uint8Array): void {
      checkRange(source, offset, target.length);
      memory.readInto(offset, target);
    },
    close: () => memory.close(),
  };
  return source;
}
