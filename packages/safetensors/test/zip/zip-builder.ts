import { crc32 } from "node:zlib";
import type { ByteSource } from "../../src/source/source.ts";
import { concat } from "../support.ts";

/** A member of an archive to build. Whatever is not given is as an honest writer makes it. */
export interface Member {
  readonly name: string | Uint8Array;
  /** Bytes, or a number of zeros that are never in memory. */
  readonly data?: Uint8Array | number;
  readonly method?: number;
  readonly flags?: number;
  readonly size?: number;
  readonly compressedSize?: number;
  readonly crc32?: number;
  readonly headerOffset?: number;
  readonly disk?: number;
  /** External attributes. */
  readonly attributes?: number;
  readonly extra?: Uint8Array;
  readonly comment?: Uint8Array;
  /** Fields of the local header, where they are to differ. */
  readonly local?: {
    readonly signature?: number;
    readonly name?: string;
    readonly method?: number;
    readonly flags?: number;
    readonly crc32?: number;
    readonly size?: number;
    readonly compressedSize?: number;
    readonly extra?: Uint8Array;
  };
  /** Bytes between the data and the next member. */
  readonly after?: Uint8Array;
}

/** The end of an archive to build. */
export interface End {
  readonly comment?: Uint8Array;
  /** Order of the members in the directory, where it is to differ. */
  readonly order?: readonly number[];
  /** Whether there are ZIP64 records, as torch always writes them. */
  readonly zip64?: boolean;
  /** Values of the classic record, where they are to differ; the same for ZIP64 and its locator. */
  readonly classic?: Partial<Values> & { disk?: number; countOnDisk?: number; commentLength?: number };
  readonly record?: Partial<Values> & { disk?: number; countOnDisk?: number; recordSize?: number };
  readonly locator?: { offset?: number; disk?: number; disks?: number };
  /** Bytes before the first member, and between the directory and its end records. */
  readonly before?: Uint8Array;
  readonly between?: Uint8Array;
  readonly after?: Uint8Array;
}

interface Values {
  count: number;
  size: number;
  offset: number;
}

const STORED_UTF8 = 0x0800;

/** The archive as pieces with their places, so that it may be larger than memory. */
export function layOutZip(
  members: readonly Member[],
  end: End = {},
): { pieces: [number, Uint8Array][]; size: number } {
  const pieces: [number, Uint8Array][] = [];
  let at = 0;
  const put = (bytes: Uint8Array) => {
    pieces.push([at, bytes]);
    at += bytes.length;
  };
  put(end.before ?? new Uint8Array(0));
  const entries = members.map((member) => {
    const headerOffset = at;
    put(localHeader(member));
    if (typeof member.data === "number") at += member.data;
    else put(member.data ?? new Uint8Array(0));
    put(member.after ?? new Uint8Array(0));
    return centralEntry(member, headerOffset);
  });
  const offset = at;
  for (const row of end.order ?? entries.keys()) put(entries[row]!);
  const values = { count: entries.length, size: at - offset, offset };
  put(end.between ?? new Uint8Array(0));
  if (end.zip64) {
    const { count, size, offset, disk, countOnDisk, recordSize } = { ...values, ...end.record };
    const record = at;
    put(fields([4, 0x06064b50], [8, recordSize ?? 44], [2, 45], [2, 45], [4, disk ?? 0], [4, 0],
      [8, countOnDisk ?? count], [8, count], [8, size], [8, offset])); // biome-ignore format: one record
    put(
      fields(
        [4, 0x07064b50],
        [4, end.locator?.disk ?? 0],
        [8, end.locator?.offset ?? record],
        [4, end.locator?.disks ?? 1],
      ),
    );
  }
  const saturated = {
    count: Math.min(values.count, 0xffff),
    size: Math.min(values.size, 0xffffffff),
    offset: Math.min(values.offset, 0xffffffff),
  };
  const classic = { ...saturated, ...end.classic };
  const comment = end.comment ?? new Uint8Array(0);
  put(
    fields(
      [4, 0x06054b50],
      [2, classic.disk ?? 0],
      [2, 0],
      [2, classic.countOnDisk ?? classic.count],
      [2, classic.count],
      [4, classic.size],
      [4, classic.offset],
      [2, classic.commentLength ?? comment.length],
    ),
  );
  put(comment);
  put(end.after ?? new Uint8Array(0));
  return { pieces, size: at };
}

/** The archive in memory. */
export function buildZip(members: readonly Member[], end?: End): Uint8Array<ArrayBuffer> {
  return concat(layOutZip(members, end).pieces.map(([, bytes]) => bytes));
}

/** The archive as a source of any size, with zeros where no piece lies. It counts its reads. */
export function sparseZip(members: readonly Member[], end?: End): ByteSource & { reads: number } {
  const { pieces, size } = layOutZip(members, end);
  return {
    size,
    reads: 0,
    async read(offset, length) {
      this.reads++;
      const bytes = new Uint8Array(length);
      for (const [at, piece] of pieces) {
        const from = Math.max(offset, at);
        const to = Math.min(offset + length, at + piece.length);
        if (from < to) bytes.set(piece.subarray(from - at, to - at), from - offset);
      }
      return bytes;
    },
  };
}

function nameBytes(name: string | Uint8Array): Uint8Array {
  return typeof name === "string" ? new TextEncoder().encode(name) : name;
}

function sizeOf(member: Member): number {
  return typeof member.data === "number" ? member.data : (member.data?.length ?? 0);
}

function checksum(member: Member): number {
  if (member.crc32 !== undefined) return member.crc32;
  return typeof member.data === "number" || member.data === undefined ? 0 : crc32(member.data);
}

function localHeader(member: Member): Uint8Array {
  const local = member.local ?? {};
  const name = nameBytes(local.name ?? member.name);
  const extra = local.extra ?? new Uint8Array(0);
  return concat([
    fields(
      [4, local.signature ?? 0x04034b50],
      [2, 20],
      [2, local.flags ?? member.flags ?? STORED_UTF8],
      [2, local.method ?? member.method ?? 0],
      [4, 0],
      [4, local.crc32 ?? checksum(member)],
      [4, local.compressedSize ?? member.compressedSize ?? sizeOf(member)],
      [4, local.size ?? member.size ?? sizeOf(member)],
      [2, name.length],
      [2, extra.length],
    ),
    name,
    extra,
  ]);
}

function centralEntry(member: Member, headerOffset: number): Uint8Array {
  const name = nameBytes(member.name);
  const size = member.size ?? sizeOf(member);
  const compressedSize = member.compressedSize ?? sizeOf(member);
  const offset = member.headerOffset ?? headerOffset;
  const wide = [size, compressedSize, offset].filter((value) => value >= 0xffffffff);
  const zip64 =
    wide.length === 0
      ? []
      : [fields([2, 1], [2, 8 * wide.length], ...wide.map((value) => [8, value] as const))];
  const extra = concat([...zip64, member.extra ?? new Uint8Array(0)]);
  const comment = member.comment ?? new Uint8Array(0);
  const narrow = (value: number) => Math.min(value, 0xffffffff);
  return concat([
    fields(
      [4, 0x02014b50],
      [2, 45],
      [2, 20],
      [2, member.flags ?? STORED_UTF8],
      [2, member.method ?? 0],
      [4, 0],
      [4, checksum(member)],
      [4, narrow(compressedSize)],
      [4, narrow(size)],
      [2, name.length],
      [2, extra.length],
      [2, comment.length],
      [2, member.disk ?? 0],
      [2, 0],
      [4, member.attributes ?? 0],
      [4, narrow(offset)],
    ),
    name,
    extra,
    comment,
  ]);
}

/** Little-endian fields of 2, 4 or 8 bytes. */
export function fields(...parts: (readonly [width: number, value: number])[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((length, [width]) => length + width, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [width, value] of parts) {
    if (width === 2) view.setUint16(at, value, true);
    else if (width === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
    at += width;
  }
  return bytes;
}
