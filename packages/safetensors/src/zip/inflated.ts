import { quote, SafetensorsError } from "../errors.ts";
import { MAX_INFLATED_BYTES } from "../limits.ts";
import { checkRange } from "../source/range.ts";
import { SegmentedBytes } from "../source/segmented.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { crc32 } from "./crc32.ts";
import { invalidArchive } from "./fields.ts";
import { type DeflatedMember, inflate } from "./inflate.ts";

/** Bytes of inflated members kept for further reads: as many as reading itself may hold. */
const KEPT_BYTES = 256 << 20;

/** Memory is taken in pieces of so many bytes, as the data comes: a size may be a lie. */
const SEGMENT_BYTES = 64 << 20;

/**
 * The inflated members of an archive that were used last, up to a number of bytes in all; the last one whatever its size.
 */
export class InflatedMembers {
  readonly #budget: number;
  /** The one used last comes last. */
  readonly #members = new Map<object, SegmentedBytes>();
  #bytes = 0;

  constructor(budget: number = KEPT_BYTES) {
    this.#budget = budget;
  }

  get(key: object): SegmentedBytes | undefined {
    const member = this.#members.get(key);
    if (!member) return undefined;
    this.#members.delete(key);
    this.#members.set(key, member);
    return member;
  }

  keep(key: object, member: SegmentedBytes): void {
    this.#members.set(key, member);
    this.#bytes += member.size;
    for (const [oldest, { size }] of this.#members) {
      if (this.#bytes <= this.#budget || this.#members.size === 1) return;
      this.#members.delete(oldest);
      this.#bytes -= size;
    }
  }

  clear(): void {
    this.#members.clear();
    this.#bytes = 0;
  }
}

/**
 * A member that is compressed with deflate, as a source of its inflated bytes.
 *
 * Deflate has no way to begin in the middle: the first read inflates the whole member and checks its size and CRC, and
 * gives nothing unless they are right. The bytes are kept in `kept`; once others have pushed them out, the next read
 * inflates again. Callers at the same time share the work, which ends early only when all of them have given up.
 *
 * @throws `LIMIT_EXCEEDED` for a member above `MAX_INFLATED_BYTES`; when read: `INVALID_ARCHIVE`, `UNSUPPORTED` where
 *   the runtime has no decompressor, and what `source` throws
 */
export function inflatedSource(
  source: ByteSource,
  member: DeflatedMember,
  kept: InflatedMembers = new InflatedMembers(),
): ByteSource {
  if (member.size > MAX_INFLATED_BYTES) {
    const text = `${quote(member.name)} is compressed and has ${member.size} bytes; store it without compression`;
    throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_INFLATED_BYTES" });
  }
  return new InflatedSource(source, member, kept);
}

/** Work under way, and how many wait for it. */
interface Inflation {
  readonly bytes: Promise<SegmentedBytes>;
  readonly stopper: AbortController;
  waiting: number;
}

class InflatedSource implements ByteSource {
  readonly size: number;
  readonly name: string;
  readonly #source: ByteSource;
  readonly #member: DeflatedMember;
  readonly #kept: InflatedMembers;
  #inflation: Inflation | undefined;

  constructor(source: ByteSource, member: DeflatedMember, kept: InflatedMembers) {
    this.size = member.size;
    this.name = `${quote(member.name)} of ${source.name ?? "the archive"}`;
    this.#source = source;
    this.#member = member;
    this.#kept = kept;
  }

  async read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    checkRange(this, offset, length);
    const target = new Uint8Array(length);
    await this.readInto(offset, target, options);
    return target;
  }

  readInto(offset: number, target: Uint8Array, options?: ReadOptions): void | Promise<void> {
    checkRange(this, offset, target.length);
    options?.signal?.throwIfAborted();
    const bytes = this.#kept.get(this);
    if (bytes) return bytes.readInto(offset, target);
    return this.#inflated(options).then((inflated) => inflated.readInto(offset, target));
  }

  close(): void | Promise<void> {
    return this.#source.close?.();
  }

  /** Waits for the bytes as long as the caller does. */
  #inflated(options: ReadOptions | undefined): Promise<SegmentedBytes> {
    this.#inflation ??= this.#begin();
    const inflation = this.#inflation;
    inflation.waiting++;
    // Many reads may share a signal, and Node warns of more than ten listeners: so each wait has one of its own.
    const signal = options?.signal && AbortSignal.any([options.signal]);
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        reject(signal?.reason);
        if (--inflation.waiting > 0) return;
        inflation.stopper.abort(signal?.reason);
        if (this.#inflation === inflation) this.#inflation = undefined;
      };
      signal?.addEventListener("abort", leave, { once: true });
      const end = (): void => signal?.removeEventListener("abort", leave);
      inflation.bytes.then(resolve, reject).then(end);
    });
  }

  #begin(): Inflation {
    const stopper = new AbortController();
    const bytes = inflateWhole(this.#source, this.#member, { signal: stopper.signal });
    const inflation = { bytes, stopper, waiting: 0 };
    const end = (): void => {
      if (this.#inflation === inflation) this.#inflation = undefined;
    };
    bytes.then((inflated) => {
      this.#kept.keep(this, inflated);
      end();
    }, end);
    return inflation;
  }
}

async function inflateWhole(
  source: ByteSource,
  member: DeflatedMember,
  options: ReadOptions,
): Promise<SegmentedBytes> {
  const { name, size, offset } = member;
  const memory = new SegmentedBytes(size, SEGMENT_BYTES, name);
  let done = 0;
  let crc = 0;
  for await (const piece of inflate(source, member, options)) {
    options.signal?.throwIfAborted();
    if (piece.length > size - done) {
      throw invalidArchive(`${quote(name)} inflates to more than its ${size} bytes`, offset);
    }
    crc = crc32(piece, crc);
    for (let taken = 0; taken < piece.length; ) {
      const room = memory.room(done, piece.length - taken);
      room.set(piece.subarray(taken, taken + room.length));
      taken += room.length;
      done += room.length;
    }
  }
  if (done < size) throw invalidArchive(`${quote(name)} inflates to ${done} bytes, not ${size}`, offset);
  if (crc !== member.crc32) throw invalidArchive(`${quote(name)} has another CRC than the directory`, offset);
  return memory;
}
