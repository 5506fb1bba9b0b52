import { quote, type SafetensorsError } from "../errors.ts";
import { readInto } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import type { Directory } from "./directory.ts";
import { DATA_DESCRIPTOR, invalidArchive, uint64 } from "./fields.ts";
import type { MemberHeads } from "./heads.ts";

const HEADER = 0x04034b50;
const HEADER_BYTES = 30;

/** The ZIP64 field of a local header: id 1, 16 bytes, both sizes. It must come first among the extra fields. */
const ZIP64_FIELD = 0x00100001;
const ZIP64_FIELD_BYTES = 20;

/** Bytes of a data descriptor: with or without signature, with 32- or 64-bit sizes. */
const DESCRIPTOR_BYTES = [12, 16, 20, 24];

/** Bytes that an extra field may have to move the data to its place. */
const ALIGNMENT_BYTES = 72;

/** Headers nearer to each other than this are read together: a read costs more than these bytes. */
const NEAR_BYTES = 1 << 15;
const WINDOW_BYTES = 1 << 20;

/** Reads in flight at once, for sources that take their time. */
const CONCURRENT_READS = 8;

/** The headers in front of the members (APPNOTE 4.3.7): read when needed, checked against the directory. */
export class LocalHeaders {
  readonly #source: ByteSource;
  readonly #directory: Directory;
  readonly #options: ReadOptions | undefined;
  /** Rows in the order of the file. */
  readonly order: Uint32Array;
  /** For each row, where the next member begins; for the last one, the directory. */
  readonly #nextOffsets: Float64Array;

  /** Checks what the directory alone can tell: the first member begins the file, and none overlaps the next. */
  constructor(source: ByteSource, directory: Directory, options?: ReadOptions) {
    const { headerOffsets, nameLengths, compressedSizes } = directory;
    const count = headerOffsets.length;
    this.#source = source;
    this.#directory = directory;
    this.#options = options;
    this.order = Uint32Array.from({ length: count }, (_, row) => row);
    // Most archives list their members in this order, and sorting would take longer than checking them.
    if (headerOffsets.some((offset, row) => offset < headerOffsets[row - 1]!))
      this.order.sort((a, b) => headerOffsets[a]! - headerOffsets[b]!);
    this.#nextOffsets = new Float64Array(count);
    let next = directory.offset;
    for (let place = count - 1; place >= 0; place--) {
      const row = this.order[place]!;
      if (headerOffsets[row]! + HEADER_BYTES + nameLengths[row]! + compressedSizes[row]! > next) {
        throw invalidArchive(`${quote(directory.names[row]!)} overlaps what follows it`, headerOffsets[row]);
      }
      this.#nextOffsets[row] = next;
      next = headerOffsets[row]!;
    }
    if (next !== 0) throw invalidArchive(`${next} bytes lie before the first member`);
  }

  /** Reads and checks one header; gives the place of the data behind it. */
  async locate(row: number): Promise<number> {
    const header = new Uint8Array(this.#readLength(row));
    await readInto(this.#source, this.#directory.headerOffsets[row]!, header, this.#options);
    return this.#dataOffset(row, new DataView(header.buffer), 0);
  }

  /** The same for all members, by row. */
  async locateAll(heads?: MemberHeads): Promise<Float64Array> {
    const offsets = new Float64Array(this.order.length);
    const windows = this.#windows(heads ? ALIGNMENT_BYTES + heads.size : 0);
    const work = async () => {
      let buffer = new Uint8Array(0);
      for (let window = windows.pop(); window; window = windows.pop()) {
        // Reused: fresh memory costs more than the read.
        if (buffer.length < window.length) buffer = new Uint8Array(window.length);
        const bytes = buffer.subarray(0, window.length);
        const waiting = readInto(this.#source, window.start, bytes, this.#options);
        if (waiting) await waiting;
        const view = new DataView(bytes.buffer, 0, bytes.length);
        for (const row of window.rows) {
          const offset = this.#dataOffset(row, view, this.#directory.headerOffsets[row]! - window.start);
          heads?.take(row, bytes, offset - window.start, this.#directory.compressedSizes[row]!);
          offsets[row] = offset;
        }
      }
    };
    try {
      await Promise.all(Array.from({ length: CONCURRENT_READS }, work));
    } catch (error) {
      // Nothing more is to be read by the others.
      windows.length = 0;
      throw error;
    }
    return offsets;
  }

  /** Bytes to read of a header: the fixed part, the name, and a ZIP64 field, which the directory's bytes leave room for. */
  #readLength(row: number): number {
    return HEADER_BYTES + this.#directory.nameLengths[row]! + ZIP64_FIELD_BYTES;
  }

  /** Headers grouped into reads, with so many bytes after the last of each, the last of the file first. */
  #windows(bytesAfter: number): { start: number; length: number; rows: Uint32Array }[] {
    const { headerOffsets } = this.#directory;
    const windows = [];
    for (let last = this.order.length - 1, first = last; first >= 0; last = --first) {
      const row = this.order[last]!;
      const end = Math.min(headerOffsets[row]! + this.#readLength(row) + bytesAfter, this.#source.size);
      while (first > 0) {
        const before = headerOffsets[this.order[first - 1]!]!;
        if (headerOffsets[this.order[first]!]! - before > NEAR_BYTES || end - before > WINDOW_BYTES) break;
        first--;
      }
      const start = headerOffsets[this.order[first]!]!;
      windows.push({ start, length: end - start, rows: this.order.subarray(first, last + 1) });
    }
    return windows;
  }

  /** Checks the header at `at` against its entry, and that the member ends where the next one begins. */
  #dataOffset(row: number, view: DataView, at: number): number {
    const { names, nameLengths, flags, methods, headerOffsets, compressedSizes } = this.#directory;
    if (view.getUint32(at, true) !== HEADER) throw this.#error(row, "is not one");
    if (view.getUint16(at + 6, true) !== flags[row])
      throw this.#error(row, "has other flags than the directory");
    if (view.getUint16(at + 8, true) !== methods[row])
      throw this.#error(row, "has another method than the directory");
    const nameLength = nameLengths[row]!;
    if (
      view.getUint16(at + 26, true) !== nameLength ||
      !isText(view, at + HEADER_BYTES, nameLength, names[row]!)
    ) {
      throw this.#error(row, "has another name than the directory");
    }
    if (!this.#sizesAgree(row, view, at))
      throw this.#error(row, "has other sizes or another CRC than the directory");

    const dataOffset = headerOffsets[row]! + HEADER_BYTES + nameLength + view.getUint16(at + 28, true);
    const gap = this.#nextOffsets[row]! - dataOffset - compressedSizes[row]!;
    const described = (flags[row]! & DATA_DESCRIPTOR) !== 0;
    if (described ? !DESCRIPTOR_BYTES.includes(gap) : gap !== 0) {
      throw this.#error(row, `leaves ${gap} bytes between its data and what follows`);
    }
    return dataOffset;
  }

  /** Whether sizes and CRC are those of the directory; with a data descriptor they may also be left open. */
  #sizesAgree(row: number, view: DataView, at: number): boolean {
    const { flags, nameLengths, crc32s, compressedSizes, sizes } = this.#directory;
    const open = (flags[row]! & DATA_DESCRIPTOR) !== 0;
    const field = at + HEADER_BYTES + nameLengths[row]!;
    const wide =
      view.getUint32(field, true) === ZIP64_FIELD && view.getUint16(at + 28, true) >= ZIP64_FIELD_BYTES;
    const value = (place: number, widePlace: number) => {
      const narrow = view.getUint32(place, true);
      return narrow === 0xffffffff && wide ? uint64(view, widePlace) : narrow;
    };
    const agrees = (found: number, expected: number) => found === expected || (open && found === 0);
    return (
      agrees(view.getUint32(at + 14, true), crc32s[row]!) &&
      agrees(value(at + 18, field + 12), compressedSizes[row]!) &&
      agrees(value(at + 22, field + 4), sizes[row]!)
    );
  }

  #error(row: number, reason: string): SafetensorsError {
    const { names, headerOffsets } = this.#directory;
    return invalidArchive(`the local header of ${quote(names[row]!)} ${reason}`, headerOffsets[row]);
  }
}

const utf8 = new TextEncoder();

/** Whether the bytes from `at` are the UTF-8 of a text. */
function isText(view: DataView, at: number, length: number, text: string): boolean {
  // A text with as many bytes as characters is ASCII.
  const expected = text.length === length ? undefined : utf8.encode(text);
  for (let index = 0; index < length; index++) {
    const byte = expected ? expected[index] : text.charCodeAt(index);
    if (view.getUint8(at + index) !== byte) return false;
  }
  return true;
}
