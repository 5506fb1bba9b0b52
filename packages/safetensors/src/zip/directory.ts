import { quote, SafetensorsError } from "../errors.ts";
import { MAX_ZIP_DIRECTORY_BYTES } from "../limits.ts";
import { readExactly } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { type DirectoryPlace, readEnd } from "./end.ts";
import { invalidArchive, UTF8_NAME, uint64, zip64Field } from "./fields.ts";

/** The central directory as columns: one row a member, in the directory's order. */
export interface Directory {
  /** Where the directory begins, which is where the last member ends. */
  readonly offset: number;
  readonly names: readonly string[];
  /** The names as bytes, and where each begins there. */
  readonly nameBytes: Uint8Array;
  readonly nameStarts: Uint32Array;
  /** Bytes of each name. */
  readonly nameLengths: Uint16Array;
  readonly flags: Uint16Array;
  readonly methods: Uint16Array;
  readonly crc32s: Uint32Array;
  readonly compressedSizes: Float64Array;
  readonly sizes: Float64Array;
  readonly headerOffsets: Float64Array;
}

const ENTRY = 0x02014b50;
const ENTRY_BYTES = 46;

/** Flags that change nothing for a reader: deflate's effort (1, 2), data descriptor (3), UTF-8 names (11). */
const KNOWN_FLAGS = 0b1000_0000_1110;

/** Bit of the external attributes (MS-DOS). */
const FOLDER_ATTRIBUTE = 0x10;

/** Names that some reader would take for another one, or that leave the folder they are unpacked into. */
const UNSAFE_NAME = /[\\\0]|(?:^|\/)\.{0,2}\/|(?:^|\/)\.{1,2}$|^$/;

/** The same for names that are lines of a text. */
const UNSAFE_LINE = new RegExp(UNSAFE_NAME.source, "m");
const LF = 0x0a;

/** Whether no archive may have a member of that name: some reader would take it for another one, or for a way out. */
export function isUnsafeName(name: string): boolean {
  return UNSAFE_NAME.test(name);
}

/** Reads and checks the central directory (APPNOTE 4.3.12). */
export async function readDirectory(source: ByteSource, options?: ReadOptions): Promise<Directory> {
  const { place, tail } = await readEnd(source, options);
  if (place.size > MAX_ZIP_DIRECTORY_BYTES) {
    throw new SafetensorsError("LIMIT_EXCEEDED", `the central directory has ${place.size} bytes`, {
      limit: "MAX_ZIP_DIRECTORY_BYTES",
    });
  }
  const inTail = place.offset - tail.offset;
  const bytes =
    inTail >= 0
      ? tail.bytes.subarray(inTail, inTail + place.size)
      : await readExactly(source, place.offset, place.size, options);
  return parseDirectory(bytes, place);
}

function parseDirectory(bytes: Uint8Array, place: DirectoryPlace): Directory {
  const { count } = place;
  if (count * ENTRY_BYTES > bytes.length) {
    throw invalidArchive(`${count} entries do not fit the directory's ${bytes.length} bytes`, place.offset);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const nameBytes = nameLines(bytes, view, count);
  const nameStarts = new Uint32Array(count);
  const readNames = safeNames(nameBytes, count);
  const names: string[] = [];
  const nameLengths = new Uint16Array(count);
  const flags = new Uint16Array(count);
  const methods = new Uint16Array(count);
  const crc32s = new Uint32Array(count);
  const compressedSizes = new Float64Array(count);
  const sizes = new Float64Array(count);
  const headerOffsets = new Float64Array(count);

  // Most entries have no extra field.
  const noWide = new WideFields(view, 0, 0);
  let at = 0;
  let nameStart = 0;
  for (let row = 0; row < count; row++) {
    if (at + ENTRY_BYTES > bytes.length || view.getUint32(at, true) !== ENTRY) {
      throw invalidArchive(`entry ${row} of the central directory is not one`, place.offset + at);
    }
    nameLengths[row] = view.getUint16(at + 28, true);
    const nameEnd = at + ENTRY_BYTES + nameLengths[row]!;
    const extraEnd = nameEnd + view.getUint16(at + 30, true);
    const end = extraEnd + view.getUint16(at + 32, true);
    if (end > bytes.length) throw invalidArchive("an entry runs over the directory's end", place.offset + at);

    const flag = view.getUint16(at + 8, true);
    const name = readNames?.[row] ?? memberName(bytes.subarray(at + ENTRY_BYTES, nameEnd));
    // Without the flag, some readers take the bytes for code page 437: the same only in ASCII.
    if ((flag & UTF8_NAME) === 0 && name.length !== nameLengths[row])
      throw invalidArchive(`the member name ${quote(name)} is not marked as UTF-8`);
    names.push(name);
    nameStarts[row] = nameStart;
    nameStart += nameLengths[row]! + 1;
    flags[row] = checkedFlags(flag, name);
    methods[row] = checkedMethod(view.getUint16(at + 10, true), name);
    crc32s[row] = view.getUint32(at + 16, true);
    const wide = nameEnd < extraEnd ? new WideFields(view, nameEnd, extraEnd) : noWide;
    sizes[row] = wide.read(view.getUint32(at + 24, true));
    compressedSizes[row] = wide.read(view.getUint32(at + 20, true));
    headerOffsets[row] = wide.read(view.getUint32(at + 42, true));
    wide.finish();
    if (view.getUint16(at + 34, true) !== 0) throw invalidArchive(`${quote(name)} is on another disk`);
    if (methods[row] === 0 && sizes[row] !== compressedSizes[row]) {
      throw invalidArchive(`${quote(name)} is stored, but its two sizes differ`);
    }
    checkFolder(name, view.getUint8(at + 38), sizes[row]! + compressedSizes[row]! > 0);
    at = end;
  }
  if (at !== bytes.length)
    throw invalidArchive("bytes follow the last entry of the directory", place.offset + at);
  const columns = { nameLengths, flags, methods, crc32s, compressedSizes, sizes, headerOffsets };
  return { offset: place.offset, names, nameBytes, nameStarts, ...columns };
}

/** The 64-bit values of an entry: those whose 32-bit field is saturated, in fixed order, and no others. */
class WideFields {
  readonly #view: DataView;
  readonly #end: number;
  #at: number;

  constructor(view: DataView, start: number, end: number) {
    const field = start < end ? zip64Field(view, start, end) : undefined;
    this.#view = view;
    this.#at = field?.at ?? 0;
    this.#end = this.#at + (field?.size ?? 0);
  }

  read(narrow: number): number {
    if (narrow !== 0xffffffff) return narrow;
    if (this.#at + 8 > this.#end) throw invalidArchive("a ZIP64 value is missing");
    this.#at += 8;
    return uint64(this.#view, this.#at - 8);
  }

  finish(): void {
    if (this.#at !== this.#end) throw invalidArchive("a ZIP64 field holds values that nothing refers to");
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The names as lines of a text, up to the first that is not there in full. */
function nameLines(bytes: Uint8Array, view: DataView, count: number): Uint8Array {
  const lines = new Uint8Array(bytes.length);
  let length = 0;
  let at = 0;
  for (let row = 0; row < count; row++) {
    const start = at + ENTRY_BYTES;
    if (start > bytes.length) break;
    const end = start + view.getUint16(at + 28, true);
    if (end > bytes.length) break;
    if (row > 0) lines[length++] = LF;
    lines.set(bytes.subarray(start, end), length);
    length += end - start;
    at = end + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return lines.slice(0, length);
}

/**
 * All names at once: with a call of the decoder and of the pattern for each, reading a directory takes twice as long.
 * Nothing if one of them is not UTF-8, unsafe, or has a line break: then each is looked at by itself.
 */
function safeNames(lines: Uint8Array, count: number): string[] | undefined {
  let text: string;
  try {
    text = utf8.decode(lines);
  } catch {
    return undefined;
  }
  // Names of nothing but line breaks must not make an array of millions.
  const names = text.split("\n", count + 1);
  return names.length === count && !UNSAFE_LINE.test(text) ? names : undefined;
}

function memberName(bytes: Uint8Array): string {
  let name: string;
  try {
    name = utf8.decode(bytes);
  } catch {
    throw invalidArchive("the name of a member is not UTF-8");
  }
  if (isUnsafeName(name)) throw invalidArchive(`unsafe member name ${quote(name)}`);
  return name;
}

/** Whether a member is a folder: some readers tell by its name, others by its attributes, and give no data then. */
function checkFolder(name: string, attributes: number, hasData: boolean): void {
  const byName = name.endsWith("/");
  if ((attributes & FOLDER_ATTRIBUTE) !== 0 && !byName)
    throw invalidArchive(`${quote(name)} is marked as a folder`);
  if (byName && hasData) throw invalidArchive(`the folder ${quote(name)} has data`);
}

function checkedFlags(flags: number, name: string): number {
  if ((flags & ~KNOWN_FLAGS) === 0) return flags;
  const encrypted = (flags & 0x2041) !== 0;
  throw new SafetensorsError(
    "UNSUPPORTED",
    encrypted ? `${quote(name)} is encrypted` : `${quote(name)} has the unknown flags ${flags}`,
    { kind: "zip" },
  );
}

function checkedMethod(method: number, name: string): number {
  if (method === 0 || method === 8) return method;
  throw new SafetensorsError(
    "UNSUPPORTED",
    `${quote(name)} is compressed with the unknown method ${method}`,
    {
      kind: "zip",
    },
  );
}
