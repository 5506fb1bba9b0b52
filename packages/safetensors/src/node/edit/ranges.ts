import { readSync } from "node:fs";
import type { Chunks } from "../../save/writer.ts";
import { crc32 } from "../../zip/crc32.ts";
import { SECTOR_BYTES } from "./journal.ts";

/** Bytes of a file that are worked on at once: a multiple of the sectors. */
export const STEP_BYTES: number = 1 << 20;

/** New bytes for a part of a file. */
export interface NewBytes {
  readonly begin: number;
  readonly end: number;
  /** The bytes in order, in pieces that are valid until the next one is asked for. */
  chunks(): Chunks;
}

/** A part of a file from sector to sector, in which some bytes become new. */
export interface SectorRange {
  readonly begin: number;
  readonly end: number;
  readonly parts: readonly NewBytes[];
}

/**
 * Widens parts to whole sectors, since a disk writes those; parts that share a sector become one range.
 *
 * @param parts without overlaps, in any order.
 */
export function toSectors(parts: readonly NewBytes[], fileSize: number): SectorRange[] {
  const ranges: { begin: number; end: number; parts: NewBytes[] }[] = [];
  for (const part of [...parts].sort((a, b) => a.begin - b.begin)) {
    if (part.begin === part.end) continue;
    const begin = part.begin - (part.begin % SECTOR_BYTES);
    const end = Math.min(Math.ceil(part.end / SECTOR_BYTES) * SECTOR_BYTES, fileSize);
    const last = ranges.at(-1);
    if (last && begin <= last.end) {
      last.end = end;
      last.parts.push(part);
    } else ranges.push({ begin, end, parts: [part] });
  }
  return ranges;
}

/** The bytes that a range is to have: the new ones, and around them those that the file has. */
export async function* bytesAfter(
  fd: number,
  { begin, end, parts }: SectorRange,
): AsyncGenerator<Uint8Array, void, undefined> {
  let at = begin;
  for (const part of parts) {
    if (part.begin > at) yield readAt(fd, at, part.begin - at);
    yield* part.chunks();
    at = part.end;
  }
  if (end > at) yield readAt(fd, at, end - at);
}

/** The CRC-32 of each sector that a range has now, as little-endian numbers of four bytes. */
export function* sumsBefore(fd: number, { begin, end }: SectorRange): Generator<Uint8Array, void, undefined> {
  for (let at = begin; at < end; at += STEP_BYTES) {
    yield sectorSums(readAt(fd, at, Math.min(STEP_BYTES, end - at)));
  }
}

/** The CRC-32 of each sector, as little-endian numbers of four bytes. */
export function sectorSums(bytes: Uint8Array): Uint8Array {
  const sums = new Uint8Array(Math.ceil(bytes.length / SECTOR_BYTES) * 4);
  const view = new DataView(sums.buffer);
  for (let at = 0, sum = 0; at < bytes.length; at += SECTOR_BYTES, sum += 4) {
    view.setUint32(sum, crc32(bytes.subarray(at, at + SECTOR_BYTES)), true);
  }
  return sums;
}

/** Reads bytes of a file; fewer where it ends. */
export function readAt(fd: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const count = readSync(fd, bytes, done, length - done, offset + done);
    if (count === 0) break;
    done += count;
  }
  return bytes.subarray(0, done);
}
