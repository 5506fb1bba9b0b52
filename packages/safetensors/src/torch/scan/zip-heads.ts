import { readInto } from "../../source/read-into.ts";
import type { ReadOptions } from "../../source/source.ts";
import type { ZipArchive, ZipEntry } from "../../zip/archive.ts";
import { type HeadTaker, MemberHeads } from "../../zip/heads.ts";

/** Bytes at the start of a member that tell what it is; of a compressed one, enough to unpack as many. */
export const MEMBER_HEAD_BYTES = 16;

/** Bytes by which most data is told from pickles. */
export const FIRST_LOOK = 4096;
const PACKED_HEAD_BYTES = 512;

/** Members nearer to each other than this are read together: a read costs more than these bytes. */
const NEAR_BYTES = 1 << 15;
const WINDOW_BYTES = 1 << 20;

/** Whether a stored member is data that is looked at no further, by the start of it: `bytes` from `at` to `end`. */
export type IsPlainData = (row: number, bytes: Uint8Array, at: number, end: number) => boolean;

/**
 * Looks at members while the bytes around their headers are in memory: of many small ones that is all of them. Keeps the
 * heads of those that are more than plain data.
 */
export class FirstLook implements HeadTaker {
  readonly size: number = MEMBER_HEAD_BYTES;
  readonly heads: MemberHeads;
  readonly #isPlainData: IsPlainData;
  /** For each row, 1 if nothing more needs to be looked at. */
  readonly #done: Uint8Array;

  constructor(members: number, isPlainData: IsPlainData) {
    this.heads = new MemberHeads(members, MEMBER_HEAD_BYTES);
    this.#isPlainData = isPlainData;
    this.#done = new Uint8Array(members);
  }

  take(row: number, bytes: Uint8Array, at: number, memberSize: number): void {
    const end = Math.min(at + Math.min(memberSize, FIRST_LOOK), bytes.length);
    // Of an archive in the member, fewer bytes would not tell.
    const isEnough = end - at >= Math.min(memberSize, MEMBER_HEAD_BYTES);
    if (memberSize === 0 || (isEnough && this.#isPlainData(row, bytes, at, end))) this.#done[row] = 1;
    else this.heads.take(row, bytes, at, memberSize);
  }

  isDone(row: number): boolean {
    return this.#done[row] === 1;
  }
}

/** The start of a member, as it is stored. */
export type MemberHead = readonly [entry: ZipEntry, head: Uint8Array];

/**
 * The first bytes of every member that is not done with, in the order of the file: those that are known, and others by
 * reads that near ones share. Those of a read come together; their bytes stand until the next come.
 */
export async function* memberHeads(
  zip: ZipArchive,
  offsets: Float64Array,
  look: FirstLook,
  options: ReadOptions,
): AsyncGenerator<readonly MemberHead[], void, undefined> {
  const { order } = zip;
  let buffer = new Uint8Array(0);
  for (let first = 0; first < order.length; ) {
    const heads: [ZipEntry, Uint8Array | undefined][] = [];
    let start = Number.POSITIVE_INFINITY;
    let end = 0;
    for (; first < order.length; first++) {
      if (look.isDone(order[first]!)) continue;
      const entry = zip.entry(order[first]!);
      const head = look.heads.of(entry.row, headLength(entry));
      if (head === undefined) {
        const offset = offsets[entry.row]!;
        const headEnd = offset + headLength(entry);
        if (end > 0 && (offset - end > NEAR_BYTES || headEnd - start > WINDOW_BYTES)) break;
        start = Math.min(start, offset);
        end = headEnd;
      }
      heads.push([entry, head]);
    }
    if (end > 0) {
      // Reused: fresh memory costs more than the read.
      if (buffer.length < end - start) buffer = new Uint8Array(end - start);
      const wait = readInto(zip.source, start, buffer.subarray(0, end - start), options);
      if (wait) await wait;
    }
    yield heads.map(([entry, head]) => {
      const at = offsets[entry.row]! - start;
      return [entry, head ?? buffer.subarray(at, at + headLength(entry))];
    });
  }
}

function headLength({ method, compressedSize }: ZipEntry): number {
  return Math.min(compressedSize, method === 0 ? MEMBER_HEAD_BYTES : PACKED_HEAD_BYTES);
}
