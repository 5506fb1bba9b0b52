import { SafetensorsError } from "../errors.ts";

/** An `INVALID_ARCHIVE` error; `at` is a byte offset in the file. */
export function invalidArchive(reason: string, at?: number): SafetensorsError {
  return new SafetensorsError("INVALID_ARCHIVE", reason, at === undefined ? {} : { at });
}

/** A 64-bit little-endian number; `INVALID_ARCHIVE` above 2^53 - 1, where it would not be exact. */
export function uint64(view: DataView, at: number): number {
  const value = view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
  if (value > Number.MAX_SAFE_INTEGER) throw invalidArchive("a 64-bit field is larger than any file");
  return value;
}

/** Flag bit 3: sizes and CRC of the local header follow the data instead. */
export const DATA_DESCRIPTOR = 0x0008;

/** Flag bit 11: the name is UTF-8. */
export const UTF8_NAME = 0x0800;

/**
 * The payload of the ZIP64 extra field (id 1) among the extra fields from `start` to `end`, or nothing.
 * Refuses fields that run over the end, a second ZIP64 field, and fields that give the member another name.
 */
export function zip64Field(
  view: DataView,
  start: number,
  end: number,
): { at: number; size: number } | undefined {
  let found: { at: number; size: number } | undefined;
  for (let at = start; at < end; ) {
    const size = at + 4 <= end ? view.getUint16(at + 2, true) : Number.POSITIVE_INFINITY;
    if (at + 4 + size > end) throw invalidArchive("an extra field runs over its end");
    const id = view.getUint16(at, true);
    if (id === 0x7075) throw invalidArchive("a member has a second name (Unicode path field)");
    if (id === 0x0001) {
      if (found) throw invalidArchive("a member has two ZIP64 fields");
      found = { at: at + 4, size };
    }
    at += 4 + size;
  }
  return found;
}
