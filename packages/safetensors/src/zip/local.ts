import { quote, type SafetensorsError } from "../errors.ts";
import { readInto } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import type { Directory } from "./directory.ts";
import { DATA_DESCRIPTOR, invalidArchive, uint64, zip64Field } from "./fields.ts";
import type { HeadTaker } from "./heads.ts";

const HEADER = 0x04034b50;
const HEADER_BYTES = 30;

/** Bytes of the ZIP64 field of a local header: both sizes. */
const ZIP64_BYTES = 16;

/** Bytes to read behind the name: a ZIP64 field, if it is the first of the extra fields. */
const EXTRA_BYTES = 4 + ZIP64_BYTES;

/** What a size of 32 bits is when the ZIP64 field has it. */
const WIDE = 0xffffffff;

/** For the place of the data, where the extra fields are needed, and not all of them were read. */
const CUT = -1;

/** Bytes of a data descriptor: with or without signature, with 32- or 64-bit sizes. */
const DESCRIPTOR_BYTES = [12, 16, 20, 24];

/** Bytes that an extra field may have to move the data to its place. */
const ALIGNMENT_BYTES = 72;

/** Headers nearer to each other than this are read together: a read costs more than these bytes. */
const NEAR_BYTES = 1 << 15;
const WINDOW_BYTES = 1 << 20;

/** Reads in flight at once, for sources that take their time. */
const CONCURRENT_READS = 8;

/** One read, and the rows whose headers are in it. */
interface Window {
  readonly start: number;
  readonly length: number;
  readonly rows: Uint32Array;
}

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
    this.order = new Uint32Array(count);
    // Most archives list their members in this order, and sorting would take longer than checking them.
    let isSorted = true;
    for (let row = 0; row < count; row++) {
      this.order[row] = row;
      isSorted &&= row === 0 || headerOffsets[row - 1]! <= headerOffsets[row]!;
    }
    if (!isSorted) this.order.sort((a, b) => headerOffsets[a]! - headerOffsets[b]!);
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

  /** Reads and checks one header, of which so many bytes are read first; gives the place of the data behind it. */
  async locate(row: number, length: number = this.#readLength(row)): Promise<number> {
    const header = new Uint8Array(length);
    await readInto(this.#source, this.#directory.headerOffsets[row]!, header, this.#options);
    const view = new DataView(header.buffer);
    const offset = this.#dataOffset(row, header, view, 0);
    return offset === CUT ? this.locate(row, extraEnd(view, 0)) : offset;
  }

  /** The same for all members, by row. */
  async locateAll(heads?: HeadTaker): Promise<Float64Array> {
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
        const cut = this.#locateAmong(bytes, window, offsets, heads);
        if (cut !== undefined) offsets[cut] = await this.locate(cut);
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

  /**
   * The same for the members of one read; gives the row of the last one, if too little of its header was read. It is a
   * function of its own, which the engine compiles sooner than what is around it.
   */
  #locateAmong(
    bytes: Uint8Array,
    window: Window,
    offsets: Float64Array,
    heads?: HeadTaker,
  ): number | undefined {
    const { headerOffsets, compressedSizes } = this.#directory;
    const { start, rows } = window;
    const view = new DataView(bytes.buffer, 0, bytes.length);
    for (let index = 0; index < rows.length; index++) {
      const row = rows[index]!;
      const offset = this.#dataOffset(row, bytes, view, headerOffsets[row]! - start);
      if (offset === CUT) return row;
      heads?.take(row, bytes, offset - start, compressedSizes[row]!);
      offsets[row] = offset;
    }
    return undefined;
  }

  /** Bytes to read of a header, for which the directory's bytes leave room. */
  #readLength(row: number): number {
    return HEADER_BYTES + this.#directory.nameLengths[row]! + EXTRA_BYTES;
  }

  /** Headers grouped into reads, with so many bytes after the last of each, the last of the file first. */
  #windows(bytesAfter: number): Window[] {
    const { headerOffsets } = this.#directory;
    const windows: Window[] = [];
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
  #dataOffset(row: number, bytes: Uint8Array, view: DataView, at: number): number {
    const { nameBytes, nameStarts, nameLengths, flags, methods, headerOffsets, compressedSizes } =
      this.#directory;
    if (view.getUint32(at, true) !== HEADER) throw this.#error(row, "is not one");
    if (view.getUint16(at + 6, true) !== flags[row])
      throw this.#error(row, "has other flags than the directory");
    if (view.getUint16(at + 8, true) !== methods[row])
      throw this.#error(row, "has another method than the directory");
    const nameLength = nameLengths[row]!;
    if (
      view.getUint16(at + 26, true) !== nameLength ||
      !areSame(bytes, at + HEADER_BYTES, nameBytes, nameStarts[row]!, nameLength)
    ) {
      throw this.#error(row, "has another name than the directory");
    }
    const length = HEADER_BYTES + nameLength + view.getUint16(at + 28, true);
    const dataOffset = headerOffsets[row]! + length;
    const gap = this.#nextOffsets[row]! - dataOffset - compressedSizes[row]!;
    const described = (flags[row]! & DATA_DESCRIPTOR) !== 0;
    if (described ? !DESCRIPTOR_BYTES.includes(gap) : gap !== 0) {
      throw this.#error(row, `leaves ${gap} bytes between its data and what follows`);
    }
    const isWide = view.getUint32(at + 18, true) === WIDE || view.getUint32(at + 22, true) === WIDE;
    if (isWide && at + length > bytes.length) return CUT;
    if (!this.#sizesAgree(row, view, at))
      throw this.#error(row, "has other sizes or another CRC than the directory");
    return dataOffset;
  }

  /** Whether sizes and CRC are those of the directory; with a data descriptor they may also be left open. */
  #sizesAgree(row: number, view: DataView, at: number): boolean {
    const { flags, nameLengths, crc32s, compressedSizes, sizes } = this.#directory;
    const isOpen = (flags[row]! & DATA_DESCRIPTOR) !== 0;
    let compressedSize = view.getUint32(at + 18, true);
    let size = view.getUint32(at + 22, true);
    if (compressedSize === WIDE || size === WIDE) {
      const field = zip64Field(view, at + HEADER_BYTES + nameLengths[row]!, extraEnd(view, at));
      const isThere = field?.size === ZIP64_BYTES;
      if (isThere && compressedSize === WIDE) compressedSize = uint64(view, field.at + 8);
      if (isThere && size === WIDE) size = uint64(view, field.at);
    }
    return (
      agrees(view.getUint32(at + 14, true), crc32s[row]!, isOpen) &&
      agrees(compressedSize, compressedSizes[row]!, isOpen) &&
      agrees(size, sizes[row]!, isOpen)
    );
  }

  #error(row: number, reason: string): SafetensorsError {
    const { names, headerOffsets } = this.#directory;
    return invalidArchive(`the local header of ${quote(names[row]!)} ${reason}`, headerOffsets[row]);
  }
}

/** Where the extra fields of the header at `at` end: the header has its name, and they follow. */
function extraEnd(view: DataView, at: number): number {
  return at + HEADER_BYTES + view.getUint16(at + 26, true) + view.getUint16(at + 28, true);
}

function agrees(found: number, expected: number, isOpen: boolean): boolean {
  return found === expected || (isOpen && found === 0);
}

function areSame(a: Uint8Array, aStart: number, b: Uint8Array, bStart: number, length: number): boolean {
  for (let index = 0; index < length; index++) if (a[aStart + index] !== b[bStart + index]) return false;
  return true;
}
