import { quote, SafetensorsError } from "../errors.ts";
import { type Crc32, crc32 } from "./crc32.ts";
import { isUnsafeName } from "./directory.ts";
import { DATA_DESCRIPTOR, UTF8_NAME } from "./fields.ts";

/** From here on a value stands in a ZIP64 field, and its own field holds this. */
const WIDE = 0xffffffff;
const WIDE_COUNT = 0xffff;

/** The data of a member begins at a multiple of so many bytes. */
const ALIGNMENT = 64;

/** Extra field that moves the data to its place, as Android's zipalign writes it: the alignment, then zeros. */
const ALIGNMENT_FIELD = 0xd935;
const ALIGNMENT_FIELD_BYTES = 6;

/** Versions that can read it: 2.0, or 4.5 with ZIP64. */
const VERSION = 20;
const VERSION_ZIP64 = 45;

/** 1980-01-01, the first day there is, so that the same input gives the same bytes. */
const DATE = 0x0021;

/**
 * Writes a ZIP archive of stored members as a stream: sizes must be known, checksums follow the data. Each member's data
 * begins at a multiple of 64 bytes. Of a member only its entry of the directory is kept.
 */
export class ZipWriter {
  readonly #put: (bytes: Uint8Array) => void | Promise<void>;
  readonly #crc32: Crc32;
  readonly #directory: Uint8Array[] = [];
  readonly #names = new Set<string>();
  #offset = 0;

  /**
   * @param put takes the bytes of the archive, in order; it must be done with them when it returns or resolves.
   * @param checksum how to compute checksums, where the runtime has something faster.
   */
  constructor(put: (bytes: Uint8Array) => void | Promise<void>, checksum: Crc32 = crc32) {
    this.#put = put;
    this.#crc32 = checksum;
  }

  /**
   * Adds a member. After an error the archive can only be given up.
   *
   * @throws `INVALID_NAME`, `DUPLICATE_NAME`; `SIZE_MISMATCH` unless exactly `size` bytes come; what the chunks throw
   */
  async add(
    name: string,
    size: number,
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const encoded = this.#encodeName(name);
    const headerOffset = this.#offset;
    await this.#write(localHeader(encoded, size, headerOffset));
    let checksum = 0;
    let written = 0;
    for await (const chunk of chunks) {
      written += chunk.length;
      if (written > size) break;
      checksum = this.#crc32(chunk, checksum);
      await this.#write(chunk);
    }
    if (written !== size) {
      const amount = written > size ? "more" : `only ${written}`;
      const text = `${quote(name)} was declared with ${size} bytes, but ${amount} came`;
      throw new SafetensorsError("SIZE_MISMATCH", text);
    }
    await this.#write(dataDescriptor(size, checksum));
    this.#directory.push(directoryEntry(encoded, size, checksum, headerOffset));
  }

  /** Ends the archive with its directory. */
  async finish(): Promise<void> {
    const offset = this.#offset;
    for (const entry of this.#directory) await this.#write(entry);
    await this.#write(endRecords(this.#directory.length, this.#offset - offset, offset));
  }

  #encodeName(name: string): Uint8Array {
    const encoded = new TextEncoder().encode(name);
    if (!canBeMember(name)) {
      throw new SafetensorsError("INVALID_NAME", `no member of a ZIP archive can be named ${quote(name)}`);
    }
    if (this.#names.has(name)) {
      throw new SafetensorsError("DUPLICATE_NAME", `two members would be named ${quote(name)}`);
    }
    this.#names.add(name);
    return encoded;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    this.#offset += bytes.length;
    const wait = this.#put(bytes);
    if (wait) await wait;
  }
}

/** Whether a member of an archive can have a name, which leads out of no folder and is UTF-8 of at most 65,535 bytes. */
export function canBeMember(name: string): boolean {
  const isShort = name.length <= 0xffff && new TextEncoder().encode(name).length <= 0xffff;
  return isShort && name.isWellFormed() && !isUnsafeName(name) && !name.endsWith("/");
}

/** Little-endian numbers, one after another: `widths` has a digit for each, its number of bytes. */
function pack(widths: string, ...values: readonly number[]): Uint8Array {
  const bytes: number[] = [];
  for (const [place, value] of values.entries()) {
    const width = Number(widths[place]);
    // Above 32 bits the operators of bits do not reach.
    for (let byte = 0, rest = value; byte < width; byte++, rest = Math.floor(rest / 256))
      bytes.push(rest % 256);
  }
  return Uint8Array.from(bytes);
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A ZIP64 extra field with these values; nothing if there are none. */
function zip64Field(values: readonly number[]): Uint8Array {
  if (values.length === 0) return new Uint8Array(0);
  return pack(`22${"8".repeat(values.length)}`, 1, values.length * 8, ...values);
}

const FLAGS = DATA_DESCRIPTOR | UTF8_NAME;

/** APPNOTE 4.3.7. Checksum and sizes are zero: they follow the data. */
function localHeader(name: Uint8Array, size: number, offset: number): Uint8Array {
  const isWide = size >= WIDE;
  const wide = zip64Field(isWide ? [0, 0] : []);
  const unaligned = offset + 30 + name.length + wide.length + ALIGNMENT_FIELD_BYTES;
  const padding = (ALIGNMENT - (unaligned % ALIGNMENT)) % ALIGNMENT;
  const extraLength = wide.length + ALIGNMENT_FIELD_BYTES + padding;
  const [version, narrow] = isWide ? [VERSION_ZIP64, WIDE] : [VERSION, 0];
  return join(
    // Signature, version, flags, method, time, date, checksum, two sizes, two lengths.
    pack("42222244422", 0x04034b50, version, FLAGS, 0, 0, DATE, 0, narrow, narrow, name.length, extraLength),
    name,
    wide,
    pack("222", ALIGNMENT_FIELD, 2 + padding, ALIGNMENT),
    new Uint8Array(padding),
  );
}

/** APPNOTE 4.3.9. */
function dataDescriptor(size: number, checksum: number): Uint8Array {
  return pack(size >= WIDE ? "4488" : "4444", 0x08074b50, checksum, size, size);
}

/** APPNOTE 4.3.12. */
function directoryEntry(name: Uint8Array, size: number, checksum: number, offset: number): Uint8Array {
  const wide = zip64Field([size, size, offset].filter((value) => value >= WIDE));
  const version = wide.length > 0 ? VERSION_ZIP64 : VERSION;
  const narrow = Math.min(size, WIDE);
  return join(
    // Signature, two versions, flags, method, time, date, checksum, two sizes.
    pack("4222222444", 0x02014b50, version, version, FLAGS, 0, 0, DATE, checksum, narrow, narrow),
    // Lengths of name, extra field and comment; disk, two kinds of attributes, offset.
    pack("2222244", name.length, wide.length, 0, 0, 0, 0, Math.min(offset, WIDE)),
    name,
    wide,
  );
}

/** APPNOTE 4.3.14 to 4.3.16; the records of ZIP64 only where they are needed. */
function endRecords(count: number, size: number, offset: number): Uint8Array {
  const narrow = Math.min(count, WIDE_COUNT);
  // Signature, two disks, two counts, size, offset, length of a comment.
  const [narrowSize, narrowOffset] = [Math.min(size, WIDE), Math.min(offset, WIDE)];
  const classic = pack("42222442", 0x06054b50, 0, 0, narrow, narrow, narrowSize, narrowOffset, 0);
  if (count < WIDE_COUNT && size < WIDE && offset < WIDE) return classic;
  return join(
    // Signature, bytes that follow, two versions, two disks, two counts, size, offset.
    pack("4822448888", 0x06064b50, 44, VERSION_ZIP64, VERSION_ZIP64, 0, 0, count, count, size, offset),
    // Signature, disk, place of the record above, number of disks.
    pack("4484", 0x07064b50, 0, offset + size, 1),
    classic,
  );
}
