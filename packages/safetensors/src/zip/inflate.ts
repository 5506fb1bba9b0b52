import { quote, SafetensorsError } from "../errors.ts";
import { readInto } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { crc32 } from "./crc32.ts";
import { invalidArchive } from "./fields.ts";
import { inflateSmall, SMALL_BYTES } from "./small-inflate.ts";

/** Deflate as it is, or in the frame of zlib or gzip (RFC 1950 to 1952). */
export type PackedFormat = "deflate-raw" | "deflate" | "gzip";

/** A member that is compressed with deflate: where its bytes lie, and what the directory says of them. */
export interface DeflatedMember {
  readonly name: string;
  /** Where the compressed bytes begin in the source. */
  readonly offset: number;
  readonly compressedSize: number;
  /** Bytes when inflated. */
  readonly size: number;
  readonly crc32: number;
  /** "deflate-raw" unless said otherwise. */
  readonly format?: PackedFormat;
}

/** Compressed bytes of a read. */
export const READ_BYTES: number = 1 << 20;

/** Compressed bytes of a piece for the decompressor, which may make a thousand times as many of them. */
const PIECE_BYTES = 1 << 15;

/** The first read, where only the begin is wanted. */
const PREFIX_READ_BYTES = 1 << 12;

/** Deflate stores 258 bytes in two bits at best (RFC 1951, 3.2.5), so no byte becomes more than these. */
const MAX_RATIO = 1032;

/** Whether a member is inflated at once, if it is as large as is said of it. */
export function isSmall({ size, compressedSize, format = "deflate-raw" }: DeflatedMember): boolean {
  return format === "deflate-raw" && size > 0 && size <= SMALL_BYTES && compressedSize <= SMALL_BYTES;
}

/**
 * Inflates a member, in pieces. What comes is not checked against the size and the CRC of the directory.
 *
 * @param readBytes bytes to read at once.
 * @throws `INVALID_ARCHIVE` for what is not deflate, `UNSUPPORTED` where the runtime has no decompressor, and what the
 *   source throws
 */
export async function* inflate(
  source: ByteSource,
  member: DeflatedMember,
  options?: ReadOptions,
  readBytes: number = READ_BYTES,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { name, size, compressedSize, offset, format = "deflate-raw" } = member;
  if (size > compressedSize * MAX_RATIO) {
    throw invalidArchive(`${quote(name)} cannot have ${size} bytes, compressed to ${compressedSize}`, offset);
  }
  if (isSmall(member)) {
    const packed = new Uint8Array(compressedSize);
    await readInto(source, offset, packed, options);
    options?.signal?.throwIfAborted();
    const { bytes, short } = inflateSmall(packed, SMALL_BYTES);
    if (bytes.length > 0) yield bytes;
    if (short) throw damaged(member);
    return;
  }
  const { readable, writable } = newDecompressor(format);
  const stopper = new AbortController();
  const signals = [stopper.signal, ...(options?.signal ? [options.signal] : [])];
  const feeder = new Feeder(source, member, readBytes, AbortSignal.any(signals));
  const feeding = feeder.feed(writable.getWriter());
  const reader = readable.getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } catch (cause) {
    if (feeder.failure) throw feeder.failure.error;
    throw damaged(member, cause);
  } finally {
    // Nothing is to be read any more when the caller has had enough.
    stopper.abort(new SafetensorsError("CLOSED", "inflating has been given up"));
    await reader.cancel().catch(() => {});
    await feeding;
  }
}

function damaged({ name, offset }: DeflatedMember, cause?: unknown): SafetensorsError {
  const text = `the compressed data of ${quote(name)} is damaged or cut off`;
  return new SafetensorsError("INVALID_ARCHIVE", text, { at: offset, ...(cause !== undefined && { cause }) });
}

/**
 * Inflates a member, in pieces. The last of them only comes when size and CRC are what the directory says, so that nobody
 * takes damaged data for a whole member.
 *
 * @throws `INVALID_ARCHIVE` also for another size or CRC; else as `inflate`
 */
export async function* inflateChecked(
  source: ByteSource,
  member: DeflatedMember,
  options?: ReadOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { name, size, offset } = member;
  let held: Uint8Array = new Uint8Array(0);
  let done = 0;
  let crc = 0;
  for await (const piece of inflate(source, member, options)) {
    if (piece.length > size - done) {
      throw invalidArchive(`${quote(name)} inflates to more than its ${size} bytes`, offset);
    }
    crc = crc32(piece, crc);
    done += piece.length;
    if (held.length > 0) yield held;
    held = piece;
  }
  if (done < size) throw invalidArchive(`${quote(name)} inflates to ${done} bytes, not ${size}`, offset);
  if (crc !== member.crc32) throw invalidArchive(`${quote(name)} has another CRC than the directory`, offset);
  if (held.length > 0) yield held;
}

/**
 * The first `length` bytes of a member, all where it has fewer. Its checksum is not looked at.
 *
 * @throws `INVALID_ARCHIVE` also where the data ends before; else as `inflate`
 */
export async function inflatePrefix(
  source: ByteSource,
  member: DeflatedMember,
  length: number,
  options?: ReadOptions,
): Promise<Uint8Array> {
  const { name, size, offset } = member;
  const wanted = Math.min(length, size);
  const parts: Uint8Array[] = [];
  let done = 0;
  for await (const part of inflate(source, member, options, PREFIX_READ_BYTES)) {
    parts.push(part.subarray(0, wanted - done));
    done += parts.at(-1)!.length;
    if (done === wanted) break;
  }
  if (done < wanted) throw invalidArchive(`${quote(name)} inflates to ${done} bytes, not ${size}`, offset);
  const prefix = new Uint8Array(wanted);
  let at = 0;
  for (const part of parts) {
    prefix.set(part, at);
    at += part.length;
  }
  return prefix;
}

/** Puts the compressed bytes into the decompressor. */
class Feeder {
  readonly #source: ByteSource;
  readonly #member: DeflatedMember;
  readonly #readBytes: number;
  readonly #signal: AbortSignal;
  /** Why reading failed: what a stream makes of it differs between runtimes. */
  failure: { readonly error: unknown } | undefined;

  constructor(source: ByteSource, member: DeflatedMember, readBytes: number, signal: AbortSignal) {
    this.#source = source;
    this.#member = member;
    this.#readBytes = readBytes;
    this.#signal = signal;
  }

  /** Never rejects: what goes wrong shows when the other end is read. */
  async feed(writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>): Promise<void> {
    const pieces = this.#pieces();
    try {
      // Each write is waited for: `pipeThrough` goes ahead of Node's decompressor by any amount.
      for await (const piece of pieces) await writer.write(piece);
      await writer.close();
    } catch (error) {
      await writer.abort(error).catch(() => {});
    }
  }

  async *#pieces(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    const { offset, compressedSize } = this.#member;
    for (let done = 0; done < compressedSize; done += this.#readBytes) {
      const bytes = new Uint8Array(Math.min(this.#readBytes, compressedSize - done));
      try {
        this.#signal.throwIfAborted();
        await readInto(this.#source, offset + done, bytes, { signal: this.#signal });
      } catch (error) {
        this.failure = { error };
        throw error;
      }
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
    }
  }
}

function newDecompressor(format: PackedFormat): DecompressionStream {
  try {
    return new DecompressionStream(format);
  } catch (cause) {
    const text = `this runtime cannot inflate: it has no DecompressionStream for ${format}`;
    throw new SafetensorsError("UNSUPPORTED", text, { kind: "zip", cause });
  }
}
