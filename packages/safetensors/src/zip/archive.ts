import { quote } from "../errors.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { type Directory, readDirectory } from "./directory.ts";
import { invalidArchive } from "./fields.ts";
import type { HeadTaker } from "./heads.ts";
import { LocalHeaders } from "./local.ts";

/** A member as the central directory describes it. */
export interface ZipEntry {
  readonly name: string;
  /** 0: stored as it is. 8: deflated. */
  readonly method: number;
  readonly flags: number;
  readonly crc32: number;
  readonly compressedSize: number;
  readonly size: number;
  readonly headerOffset: number;
  /** Row of the central directory. */
  readonly row: number;
}

/**
 * A ZIP archive of which every reader sees the same members.
 *
 * Opening it reads the end and the central directory only. The headers in front of the members are read, and checked
 * against the directory, when the place of a member's data is asked for.
 */
export class ZipArchive {
  readonly source: ByteSource;
  readonly #directory: Directory;
  readonly #rows = new Map<string, number>();
  readonly #local: LocalHeaders;

  constructor(source: ByteSource, directory: Directory, options?: ReadOptions) {
    this.source = source;
    this.#directory = directory;
    const { names } = directory;
    for (let row = 0; row < names.length; row++) this.#rows.set(names[row]!, row);
    if (this.#rows.size < names.length) throw invalidArchive(`two members are named ${twice(names)}`);
    this.#local = new LocalHeaders(source, directory, options);
  }

  /** Number of members. */
  get size(): number {
    return this.#directory.names.length;
  }

  /** The names, in the order of the central directory. */
  names(): readonly string[] {
    return this.#directory.names;
  }

  /** Rows of the directory in the order of the file. */
  get order(): Uint32Array {
    return this.#local.order;
  }

  /** The method of the member in a row: see `ZipEntry`. */
  methodOf(row: number): number {
    return this.#directory.methods[row]!;
  }

  /** The unpacked size of the member in a row. */
  sizeOf(row: number): number {
    return this.#directory.sizes[row]!;
  }

  find(name: string): ZipEntry | undefined {
    const row = this.#rows.get(name);
    return row === undefined ? undefined : this.entry(row);
  }

  /** The member in a row of the directory. */
  entry(row: number): ZipEntry {
    const directory = this.#directory;
    return {
      name: directory.names[row]!,
      method: directory.methods[row]!,
      flags: directory.flags[row]!,
      crc32: directory.crc32s[row]!,
      compressedSize: directory.compressedSizes[row]!,
      size: directory.sizes[row]!,
      headerOffset: directory.headerOffsets[row]!,
      row,
    };
  }

  /** Where the data of a member begins. Reads its local header. */
  dataOffset(entry: ZipEntry): Promise<number> {
    return this.#local.locate(entry.row);
  }

  /**
   * Where the data of every member begins, by row. Reads all local headers, near ones together; after it, the members
   * are known to fill the file from its start to the directory, without a gap in which anything could hide.
   *
   * @param heads takes the first bytes of the members, which are read along.
   */
  dataOffsets(heads?: HeadTaker): Promise<Float64Array> {
    return this.#local.locateAll(heads);
  }
}

/** The first name that was there before. */
function twice(names: readonly string[]): string {
  const seen = new Set<string>();
  return quote(names.find((name) => seen.size === seen.add(name).size) ?? "");
}

/**
 * Opens a ZIP archive, with the ZIP64 extensions, and refuses every one in which two readers could see different
 * members (`INVALID_ARCHIVE`): see end.ts, directory.ts and local.ts for the rules.
 */
export async function openZip(source: ByteSource, options?: ReadOptions): Promise<ZipArchive> {
  return new ZipArchive(source, await readDirectory(source, options), options);
}
