import { quote, SafetensorsError } from "../errors.ts";
import { MAX_INFLATED_BYTES } from "../limits.ts";
import { checkRange } from "../source/range.ts";
import { SegmentedBytes } from "../source/segmented.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { ForwardReader } from "./forward-reader.ts";
import { type DeflatedMember, inflateChecked, isSmall, READ_BYTES } from "./inflate.ts";
import { waitFor } from "./wait.ts";

/** Bytes of inflated members kept for further reads: as many as reading itself may hold. */
const KEPT_BYTES = 256 << 20;

/** Members that are read forward side by side, each with its decompressor and a few MiB: those that belong together, and more. */
const KEPT_READERS = 8;

/** Memory is taken in pieces of so many bytes, as the data comes: a size may be a lie. */
const SEGMENT_BYTES = 64 << 20;

/** Bytes cost forty times as much as those of a file: what lies between wanted ones is better not asked for. */
const COST = { operation: 20e-6, byte: 4e-9 };

/** How much of a member may be inflated in vain, in all reads, before it is held in memory. */
const MAX_IN_VAIN = 1 / 16;

/**
 * What is under way in the members of an archive: those that are read forward, and of those that are held in memory the ones
 * used last, up to a number of bytes in all; the last one whatever its size.
 */
export class InflatedMembers {
  readonly #budget: number;
  /** The one used last comes last. */
  readonly #members = new Map<object, SegmentedBytes>();
  readonly #readers = new Map<object, ForwardReader>();
  #bytes = 0;

  constructor(budget: number = KEPT_BYTES) {
    this.#budget = budget;
  }

  get(key: object): SegmentedBytes | undefined {
    return lastUsed(this.#members, key);
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

  /** The reader of a member, if it can go on. */
  reader(key: object): ForwardReader | undefined {
    const reader = lastUsed(this.#readers, key);
    return reader?.isOver ? undefined : reader;
  }

  /** Keeps a reader instead of the one that the member had; those that wait for nothing go first if there are too many. */
  keepReader(key: object, reader: ForwardReader): void {
    this.#readers.get(key)?.stop(givenUp());
    this.#readers.set(key, reader);
    for (const [oldest, other] of this.#readers) {
      if (this.#readers.size <= KEPT_READERS) return;
      if (other.isBusy || other === reader) continue;
      other.stop(givenUp());
      this.#readers.delete(oldest);
    }
  }

  /** Lets everything go; reads under way fail. */
  clear(): void {
    this.#members.clear();
    this.#bytes = 0;
    for (const reader of this.#readers.values()) reader.stop(givenUp());
    this.#readers.clear();
  }
}

function lastUsed<T>(map: Map<object, T>, key: object): T | undefined {
  const value = map.get(key);
  if (value === undefined) return undefined;
  map.delete(key);
  map.set(key, value);
  return value;
}

function givenUp(): SafetensorsError {
  return new SafetensorsError("CLOSED", "inflating has been given up");
}

/**
 * A member that is compressed with deflate, as a source of its inflated bytes.
 *
 * Deflate has no way to begin in the middle. Reads that each begin where the one before ended, or a little behind it, get
 * the bytes as they are inflated, with memory for a few pieces whatever the size; whoever reads the last byte knows
 * that size and CRC are right. They may begin anew where they began, or before.
 *
 * Reads that go to and fro would inflate the same again and again. So the whole member is inflated, checked, and held in
 * `kept`, for a read that goes back to another place, or back while others wait, or for which more than a sixteenth of
 * the member would have been inflated in vain. Once others have pushed it out, everything begins anew. Callers at the
 * same time share the work, which ends early only when all of them have given up. A small member is inflated at once for
 * a read of all of it, and held for one of a part.
 *
 * @throws when read: `INVALID_ARCHIVE`, `UNSUPPORTED` where the runtime has no decompressor, `LIMIT_EXCEEDED` for a
 *   member above `MAX_INFLATED_BYTES` that would have to be held in memory, and what `source` throws
 */
export function inflatedSource(
  source: ByteSource,
  member: DeflatedMember,
  kept: InflatedMembers = new InflatedMembers(),
): ByteSource {
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
  readonly cost: ByteSource["cost"] = COST;
  readonly #source: ByteSource;
  readonly #member: DeflatedMember;
  readonly #kept: InflatedMembers;
  /** Whether it is inflated at once: it is not worth a reader. */
  readonly #isSmall: boolean;
  #inflation: Inflation | undefined;
  /** Bytes that were inflated, or will be, and thrown away. */
  #inVain = 0;
  /** Where the reads of the last pass through the member began, and how far they came. */
  #start = Number.POSITIVE_INFINITY;
  #end = Number.POSITIVE_INFINITY;

  constructor(source: ByteSource, member: DeflatedMember, kept: InflatedMembers) {
    this.size = member.size;
    this.name = `${quote(member.name)} of ${source.name ?? "the archive"}`;
    this.#source = source;
    this.#member = member;
    this.#kept = kept;
    this.#isSmall = isSmall(member);
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
    if (target.length === 0) return;
    const bytes = this.#kept.get(this);
    if (bytes) return bytes.readInto(offset, target);
    // What is asked for as a whole need not be kept.
    if (this.#isSmall && target.length === this.size && !this.#inflation) return this.#fill(target, options);
    const reader = this.#readerFor(offset);
    if (!reader) return this.#inflated(options).then((inflated) => inflated.readInto(offset, target));
    this.#end = offset + target.length;
    return reader.readInto(offset, target, options);
  }

  close(): void | Promise<void> {
    return this.#source.close?.();
  }

  async #fill(target: Uint8Array, options: ReadOptions | undefined): Promise<void> {
    let done = 0;
    for await (const piece of inflateChecked(this.#source, this.#member, options)) {
      target.set(piece, done);
      done += piece.length;
    }
  }

  /** The reader for a read from `offset` on; none if the member is to be held in memory. */
  #readerFor(offset: number): ForwardReader | undefined {
    if (this.#isSmall || this.#inflation) return undefined;
    const reader = this.#kept.reader(this);
    const goesOn = reader !== undefined && offset >= reader.end;
    if (!goesOn && (reader?.isBusy || offset > this.#start)) return undefined;
    // To begin costs a read at least, however little of it was asked for.
    const begun = Math.max(Math.min(READ_BYTES, this.size) - this.#end, 0);
    const inVain = this.#inVain + (goesOn ? offset - reader.end : offset + begun);
    if (inVain > this.size * MAX_IN_VAIN) return undefined;
    this.#inVain = inVain;
    if (goesOn) return reader;
    this.#start = offset;
    const anew = new ForwardReader((signal) => inflateChecked(this.#source, this.#member, { signal }));
    this.#kept.keepReader(this, anew);
    return anew;
  }

  /** The whole member, for which the caller waits as long as it likes. */
  #inflated(options: ReadOptions | undefined): Promise<SegmentedBytes> {
    this.#inflation ??= this.#begin();
    const inflation = this.#inflation;
    inflation.waiting++;
    return waitFor(inflation.bytes, options?.signal, (reason) => {
      if (--inflation.waiting > 0) return;
      inflation.stopper.abort(reason);
      if (this.#inflation === inflation) this.#inflation = undefined;
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
  const { name, size } = member;
  if (size > MAX_INFLATED_BYTES) {
    const text = `${quote(name)} is compressed, has ${size} bytes, and is not read in order; store it without compression`;
    throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_INFLATED_BYTES" });
  }
  const memory = new SegmentedBytes(size, SEGMENT_BYTES, name);
  let done = 0;
  for await (const piece of inflateChecked(source, member, options)) {
    options.signal?.throwIfAborted();
    for (let taken = 0; taken < piece.length; ) {
      const room = memory.room(done, piece.length - taken);
      room.set(piece.subarray(taken, taken + room.length));
      taken += room.length;
      done += room.length;
    }
  }
  return memory;
}
