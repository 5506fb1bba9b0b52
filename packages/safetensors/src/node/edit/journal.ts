import { type BigIntStats, closeSync, constants, fstatSync, openSync } from "node:fs";
import { basename } from "node:path";
import { readHeader } from "../../checkpoint/safetensors.ts";
import { SafetensorsError } from "../../errors.ts";
import type { Header } from "../../format/header.ts";
import { MAX_SHARDS } from "../../limits.ts";
import { FileSource } from "../file-source.ts";
import { ioError } from "../io-error.ts";
import { type JournalOwner, processOf } from "./journal-owner.ts";

/** What a journal says it is. */
export const JOURNAL_FORMAT = "safetensors.js journal 1";

/** What a disk writes at once, or not at all. */
export const SECTOR_BYTES = 512;

/** A part of a file that gets other bytes. Begins, and mostly ends, at a multiple of `SECTOR_BYTES`. */
export interface JournalRange {
  readonly offset: number;
  readonly length: number;
  /** Where in the journal the new bytes are. */
  readonly afterAt: number;
  /** Where in the journal the CRC-32 of every old sector is. */
  readonly beforeAt: number;
}

/** A file that an edit changes. */
export interface JournalFile {
  /** Bare name, in the folder of the journal. */
  readonly name: string;
  readonly size: number;
  /** The system's number of the file. */
  readonly inode: string;
  /** The file that takes its place, instead of ranges. */
  readonly next?: { readonly name: string; readonly inode: string };
  readonly ranges: readonly JournalRange[];
}

/** The journal of an edit: all that it changes. Once it has its name it is complete, and the edit certain. */
export interface Journal {
  readonly path: string;
  readonly inode: string;
  /** User who made it. */
  readonly uid: number;
  /** When it was written, in milliseconds since 1970. */
  readonly written: number;
  readonly owner: JournalOwner;
  readonly files: readonly JournalFile[];
  readonly source: FileSource;
}

/**
 * Reads a journal and checks all it says. It is a safetensors file: of file number F, the tensor `F.after.OFFSET` (U8) holds
 * the new bytes from that offset on, `F.before.OFFSET` (U32) the CRC-32 of each old sector; the metadata hold the rest.
 *
 * @returns undefined if there is none
 * @throws `IO` if there is something else under its name, or it is not valid
 */
export async function readJournal(path: string): Promise<Journal | undefined> {
  const opened = await openJournal(path);
  if (!opened) return undefined;
  const { source, status } = opened;
  try {
    const header = await readHeader(source);
    const { format, owner = "", files = "" } = Object.fromEntries(header.metadata);
    if (format !== JOURNAL_FORMAT) throw new Error(`its format is ${JSON.stringify(format)}`);
    return {
      path,
      inode: String(status.ino),
      uid: Number(status.uid),
      written: Number(status.mtimeMs),
      owner: ownerFrom(JSON.parse(owner)),
      files: filesFrom(JSON.parse(files), header),
      source,
    };
  } catch (cause) {
    await source.close();
    const text = `${path} should be the journal of an edit, but it is not valid: ${(cause as Error).message}`;
    throw new SafetensorsError("IO", text, { file: path, cause });
  }
}

async function openJournal(
  path: string,
): Promise<{ readonly source: FileSource; readonly status: BigIntStats } | undefined> {
  let descriptor: number | undefined;
  try {
    // No link is followed, and nothing waits for the other end of a pipe.
    const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants;
    descriptor = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    const status = fstatSync(descriptor, { bigint: true });
    if (status.isFile()) return { source: new FileSource(path, descriptor, fstatSync(descriptor)), status };
  } catch (cause) {
    if (descriptor !== undefined) closeSync(descriptor);
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw ioError(path, "open", cause);
  }
  closeSync(descriptor);
  throw new SafetensorsError("IO", `${path} should be the journal of an edit, but it is not a file`, {
    file: path,
  });
}

function ownerFrom(value: unknown): JournalOwner {
  const { writer, thread } = record(value);
  if (isText(writer) && isCount(thread)) {
    const owner = { writer, thread };
    if (processOf(owner) !== undefined) return owner;
  }
  throw new Error("it does not say whose it is");
}

function filesFrom(value: unknown, header: Header): JournalFile[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_SHARDS + 1) {
    throw new Error("it does not say which files it is for");
  }
  const names = new Set<string>();
  const ranges = rangesFrom(header);
  const files = value.map((entry: unknown, number) => {
    const { name, size, inode, next } = record(entry);
    if (!(isBareName(name) && isCount(size) && isText(inode)))
      throw new Error(`file ${number} is not described`);
    if (names.has(name)) throw new Error(`${name} is named twice`);
    names.add(name);
    const own = ranges.get(number) ?? [];
    ranges.delete(number);
    if (own.some(({ offset, length }) => offset + length > size)) {
      throw new Error(`it reaches beyond the end of ${name}`);
    }
    return { name, size, inode, ranges: own, ...(next !== undefined && { next: nextFrom(next, own) }) };
  });
  if (ranges.size > 0) throw new Error("it has bytes of a file that it does not name");
  return files;
}

function nextFrom(value: unknown, ranges: readonly JournalRange[]): { name: string; inode: string } {
  const { name, inode } = record(value);
  if (!(isBareName(name) && isText(inode) && ranges.length === 0)) {
    throw new Error("a replacement is not described");
  }
  return { name, inode };
}

/** The ranges of each file, by its number, in order. */
function rangesFrom(header: Header): Map<number, JournalRange[]> {
  const byFile = new Map<number, JournalRange[]>();
  for (const { name, dtype, shape, dataOffsets } of header) {
    const [, file, kind, start] = /^(\d{1,5})\.(after|before)\.(\d{1,16})$/.exec(name) ?? [];
    if (kind === "before") continue;
    const offset = Number(start);
    const length = dataOffsets[1] - dataOffsets[0];
    const before = header.find(`${file}.before.${start}`);
    const sectors = Math.ceil(length / SECTOR_BYTES);
    if (
      kind === undefined ||
      dtype !== "U8" ||
      shape.length !== 1 ||
      offset % SECTOR_BYTES !== 0 ||
      before?.dtype !== "U32" ||
      before.shape.length !== 1 ||
      before.shape[0] !== sectors
    ) {
      throw new Error(`${JSON.stringify(name)} is no range`);
    }
    const range = {
      offset,
      length,
      afterAt: header.byteLength + dataOffsets[0],
      beforeAt: header.byteLength + before.dataOffsets[0],
    };
    const ranges = byFile.get(Number(file));
    if (ranges) ranges.push(range);
    else byFile.set(Number(file), [range]);
  }
  for (const ranges of byFile.values()) {
    ranges.sort((a, b) => a.offset - b.offset);
    for (const [index, { offset, length }] of ranges.entries()) {
      if (offset + length > (ranges[index + 1]?.offset ?? Number.POSITIVE_INFINITY)) {
        throw new Error("two of its ranges overlap");
      }
    }
  }
  return byFile;
}

function record(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw new Error("an object is missing");
  return value as Record<string, unknown>;
}

/** Unlike a name in an index, it may hold any character that the system takes. */
const isBareName = (value: unknown): value is string =>
  isText(value) && !/^\.{0,2}$|\0/.test(value) && basename(value) === value;
const isText = (value: unknown): value is string => typeof value === "string";
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
