import { quote, SafetensorsError } from "../errors.ts";
import { DATA_INFLATE_ALLOWANCE } from "../limits.ts";
import { readExactly } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { openZip, type ZipArchive, type ZipEntry } from "../zip/archive.ts";
import { inflatePrefix } from "../zip/inflate.ts";
import { type InflatedMembers, inflatedSource } from "../zip/inflated.ts";
import { checkRatio } from "../zip/ratio.ts";
import type { StoredArray } from "./array.ts";

/** Options of `listArrays`. */
export interface ArchiveOptions extends ReadOptions {
  readonly allowExpansion?: boolean | undefined;
}

/** The ending of every member's name, which is no part of the array's. */
export const MEMBER_ENDING = ".npy";

/**
 * The arrays of a `.npz` archive that are wanted, in the order of their data; none of them has been read.
 *
 * @param kept what is under way in compressed arrays.
 * @throws what `openZip` throws; `UNSUPPORTED` for members that are no arrays; `LIMIT_EXCEEDED` for one that unpacks to
 *   more than `MAX_INFLATE_RATIO` times its bytes, unless `allowExpansion` is set
 */
export async function listArrays(
  source: ByteSource,
  kept: InflatedMembers,
  isWanted: (name: string) => boolean,
  options: ArchiveOptions,
): Promise<StoredArray[]> {
  const zip = await openZip(source, options);
  const offsets = await zip.dataOffsets();
  const arrays: StoredArray[] = [];
  for (const entry of arrayMembers(zip)) {
    const name = entry.name.slice(0, -MEMBER_ENDING.length);
    const offset = offsets[entry.row]!;
    if (isWanted(name)) arrays.push(memberArray(source, kept, { ...entry, name, offset }, options));
  }
  return arrays;
}

function arrayMembers(zip: ZipArchive): ZipEntry[] {
  const entries = zip.names().flatMap((name) => {
    // The entry of a folder holds nothing.
    if (name.endsWith("/")) return [];
    if (name.endsWith(MEMBER_ENDING)) return [zip.find(name)!];
    const text = `the archive has ${quote(name)}, which is no array: its name does not end in ${MEMBER_ENDING}`;
    throw new SafetensorsError("UNSUPPORTED", text, { kind: "zip" });
  });
  return entries.sort((a, b) => a.headerOffset - b.headerOffset);
}

function memberArray(
  source: ByteSource,
  kept: InflatedMembers,
  member: ZipEntry & { readonly offset: number },
  options: ArchiveOptions,
): StoredArray {
  if (!options.allowExpansion) checkRatio(member, DATA_INFLATE_ALLOWANCE);
  const { name, offset, size, method, crc32 } = member;
  if (method === 0) {
    const read = (length: number): Promise<Uint8Array> => readExactly(source, offset, length, options);
    // 0: it has none.
    const checksum = crc32 === 0 ? undefined : { crc32, member: name + MEMBER_ENDING, archive: source.name };
    return { name, source, offset, size, read, ...(checksum && { checksum }) };
  }
  const read = (length: number): Promise<Uint8Array> => inflatePrefix(source, member, length, options);
  return { name, source: inflatedSource(source, member, kept), offset: 0, size, read };
}
