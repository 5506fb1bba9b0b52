import { SafetensorsError } from "../errors.ts";
import { readExactly } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { invalidArchive, uint64 } from "./fields.ts";

/** Where the central directory lies and how many entries it holds. */
export interface DirectoryPlace {
  readonly offset: number;
  readonly size: number;
  readonly count: number;
}

/** The last bytes of the source, kept so that a small directory needs no second read. */
export interface Tail {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

const END_BYTES = 22;
const LOCATOR_BYTES = 20;
const END64_BYTES = 56;
const MAX_COMMENT_BYTES = 0xffff;
const END = 0x06054b50;
const LOCATOR = 0x07064b50;
const END64 = 0x06064b50;

/**
 * Reads the end of an archive: the end record, and the ZIP64 locator and record if they are there (APPNOTE 4.3.14 to
 * 4.3.16). Readers differ in how they look for these, so there must be exactly one way to find them.
 */
export async function readEnd(
  source: ByteSource,
  options?: ReadOptions,
): Promise<{ place: DirectoryPlace; tail: Tail }> {
  const length = Math.min(source.size, MAX_COMMENT_BYTES + END_BYTES + LOCATOR_BYTES + END64_BYTES);
  const offset = source.size - length;
  const tail = { offset, bytes: await readExactly(source, offset, length, options) };
  const view = new DataView(tail.bytes.buffer, tail.bytes.byteOffset, tail.bytes.length);
  const at = findEnd(tail.bytes, view);
  const classic = readClassicEnd(view, at);
  const record = readZip64End(view, at, tail.offset);
  const place = record ? agreed(record, classic) : classic;
  const end = tail.offset + at - (record ? LOCATOR_BYTES + END64_BYTES : 0);
  if (place.offset + place.size !== end) {
    throw invalidArchive(
      `the central directory ends at byte ${place.offset + place.size}, the end record begins at ${end}`,
      end,
    );
  }
  return { place, tail };
}

/** Position of the end record in the tail: the last signature, whose comment must end the file, and no rival to it. */
function findEnd(bytes: Uint8Array, view: DataView): number {
  let found = -1;
  for (let at = bytes.lastIndexOf(0x50); at >= 0; at = at > 0 ? bytes.lastIndexOf(0x50, at - 1) : -1) {
    if (at + 4 > view.byteLength || view.getUint32(at, true) !== END) continue;
    const endsFile =
      at + END_BYTES <= view.byteLength && at + END_BYTES + view.getUint16(at + 20, true) === view.byteLength;
    if (found < 0 && !endsFile) throw invalidArchive("the end record and its comment do not end the file");
    if (found >= 0 && endsFile) throw invalidArchive("there are two end records");
    if (found < 0) found = at;
  }
  if (found < 0) throw invalidArchive("there is no end record: not a ZIP archive, or cut off");
  return found;
}

function readClassicEnd(view: DataView, at: number): DirectoryPlace {
  const count = view.getUint16(at + 10, true);
  const oneDisk = view.getUint32(at + 4, true) === 0 && view.getUint16(at + 8, true) === count;
  if (!oneDisk) throw severalDisks();
  return { count, size: view.getUint32(at + 12, true), offset: view.getUint32(at + 16, true) };
}

/** The ZIP64 record, if the end record is preceded by a locator; the two must lie side by side. */
function readZip64End(view: DataView, end: number, tailOffset: number): DirectoryPlace | undefined {
  const locator = end - LOCATOR_BYTES;
  if (locator < 0 || view.getUint32(locator, true) !== LOCATOR) return undefined;
  const at = locator - END64_BYTES;
  if (at < 0 || uint64(view, locator + 8) !== tailOffset + at || view.getUint32(at, true) !== END64) {
    throw invalidArchive("the ZIP64 end record does not lie right before its locator", tailOffset + locator);
  }
  if (uint64(view, at + 4) !== END64_BYTES - 12) {
    throw invalidArchive("the ZIP64 end record has an unusual size", tailOffset + at);
  }
  const count = uint64(view, at + 32);
  const disks = [
    view.getUint32(locator + 4, true),
    view.getUint32(at + 16, true),
    view.getUint32(at + 20, true),
  ];
  const oneDisk = disks.every((disk) => disk === 0) && view.getUint32(locator + 16, true) === 1;
  if (!oneDisk || uint64(view, at + 24) !== count) throw severalDisks();
  return { count, size: uint64(view, at + 40), offset: uint64(view, at + 48) };
}

/** The ZIP64 values, after a check that each classic one says the same or says "see ZIP64". */
function agreed(record: DirectoryPlace, classic: DirectoryPlace): DirectoryPlace {
  const agree =
    (classic.count === record.count || classic.count === 0xffff) &&
    (classic.size === record.size || classic.size === 0xffffffff) &&
    (classic.offset === record.offset || classic.offset === 0xffffffff);
  if (!agree) throw invalidArchive("the end record and the ZIP64 end record disagree");
  return record;
}

function severalDisks(): SafetensorsError {
  return new SafetensorsError("UNSUPPORTED", "the archive is spread over several disks", { kind: "zip" });
}
