import { DATA_DESCRIPTOR, UTF8_NAME } from "../../zip/fields.ts";
import type { ByteBuilder } from "./byte-builder.ts";

// The layout of PyTorch's own writer, field by field (PyTorchStreamWriter over miniz); APPNOTE 4.3.7 to 4.3.16.

/** What the directory says of a stored member. */
export interface Member {
  /** UTF-8. */
  readonly name: Uint8Array;
  readonly size: number;
  readonly crc32: number;
  readonly headerOffset: number;
}

/** From here on a size or an offset stands in a ZIP64 field, and its 32-bit field holds this value. */
const WIDE = 0xffffffff;
const WIDE_COUNT = 0xffff;

/** Data begins at multiples of this many bytes, as in the record `.storage_alignment`. */
const ALIGNMENT = 64;

const LOCAL_HEADER = 0x04034b50;
const DESCRIPTOR = 0x08074b50;
const ENTRY = 0x02014b50;
const END64 = 0x06064b50;
const LOCATOR = 0x07064b50;
const END = 0x06054b50;

/** Id ("FB") and filler ("Z") of the extra field that moves the data to its place. */
const PADDING_FIELD = 0x4246;
const PADDING_BYTE = 0x5a;
const ZIP64_FIELD = 0x0001;

/** Version 4.5, the first with ZIP64, and the same written on Unix. */
const NEEDS_ZIP64 = 45;
const MADE_BY = 0x031e;

type Place = Pick<Member, "size" | "headerOffset">;

/** The header before a member's data. Sizes and checksum follow the data, unless there is none. */
export function localHeader(out: ByteBuilder, { name, size, headerOffset }: Omit<Member, "crc32">): void {
  const wide = zip64Length({ size, headerOffset });
  const unpadded = 30 + name.length + wide + 4;
  const padding = (ALIGNMENT - ((headerOffset + unpadded) % ALIGNMENT)) % ALIGNMENT;
  out.uint32(LOCAL_HEADER);
  out.uint16(0);
  out.uint16(flagsOf(size));
  // Method, time and date, checksum and both sizes.
  out.fill(0, 18);
  out.uint16(name.length);
  out.uint16(unpadded + padding - 30 - name.length);
  out.append(name);
  // The second size, of what is stored, is not known to that writer yet.
  zip64Field(out, { size, headerOffset }, 0);
  out.uint16(PADDING_FIELD);
  out.uint16(padding);
  out.fill(PADDING_BYTE, padding);
}

/** What follows a member's data. */
export function dataDescriptor(out: ByteBuilder, { size, crc32, headerOffset }: Omit<Member, "name">): void {
  if (size === 0) return;
  out.uint32(DESCRIPTOR);
  out.uint32(crc32);
  const isWide = zip64Length({ size, headerOffset }) > 0;
  for (let field = 0; field < 2; field++) {
    if (isWide) out.uint64(size);
    else out.uint32(size);
  }
}

/** A member's entry in the central directory. */
export function directoryEntry(out: ByteBuilder, { name, size, crc32, headerOffset }: Member): void {
  out.uint32(ENTRY);
  out.uint32(0);
  out.uint16(flagsOf(size));
  // Method, time and date.
  out.fill(0, 6);
  out.uint32(crc32);
  out.uint32(Math.min(size, WIDE));
  out.uint32(Math.min(size, WIDE));
  out.uint16(name.length);
  out.uint16(zip64Length({ size, headerOffset }));
  // Comment, disk, attributes.
  out.fill(0, 10);
  out.uint32(Math.min(headerOffset, WIDE));
  out.append(name);
  zip64Field(out, { size, headerOffset }, size);
}

/** The three records at the end; those of ZIP64 are always there. */
export function endRecords(out: ByteBuilder, count: number, length: number, offset: number): void {
  out.uint32(END64);
  out.uint64(44);
  out.uint16(MADE_BY);
  out.uint16(NEEDS_ZIP64);
  out.fill(0, 8);
  out.uint64(count);
  out.uint64(count);
  out.uint64(length);
  out.uint64(offset);

  out.uint32(LOCATOR);
  out.uint32(0);
  out.uint64(offset + length);
  out.uint32(1);

  out.uint32(END);
  out.uint32(0);
  out.uint16(Math.min(count, WIDE_COUNT));
  out.uint16(Math.min(count, WIDE_COUNT));
  out.uint32(Math.min(length, WIDE));
  out.uint32(Math.min(offset, WIDE));
  out.uint16(0);
}

function flagsOf(size: number): number {
  return size === 0 ? UTF8_NAME : UTF8_NAME | DATA_DESCRIPTOR;
}

/** Bytes of the ZIP64 field, 0 where none is needed. */
function zip64Length({ size, headerOffset }: Place): number {
  const values = (size >= WIDE ? 16 : 0) + (headerOffset >= WIDE ? 8 : 0);
  return values === 0 ? 0 : 4 + values;
}

function zip64Field(out: ByteBuilder, { size, headerOffset }: Place, storedSize: number): void {
  const length = zip64Length({ size, headerOffset });
  if (length === 0) return;
  out.uint16(ZIP64_FIELD);
  out.uint16(length - 4);
  if (size >= WIDE) {
    out.uint64(size);
    out.uint64(storedSize);
  }
  if (headerOffset >= WIDE) out.uint64(headerOffset);
}
