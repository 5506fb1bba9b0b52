import { readExactly } from "../../source/read-into.ts";
import type { ReadOptions } from "../../source/source.ts";
import type { ZipArchive, ZipEntry } from "../../zip/archive.ts";

/** Bytes at the start of a member that tell what it is; of a compressed one, enough to unpack as many. */
export const MEMBER_HEAD_BYTES = 16;
const PACKED_HEAD_BYTES = 512;

/** Members nearer to each other than this are read together: a read costs more than these bytes. */
const NEAR_BYTES = 1 << 15;
const WINDOW_BYTES = 1 << 20;

/** The first bytes, as they are stored, of every member that has any, in the order of the file. Near ones share a read. */
export async function* memberHeads(
  zip: ZipArchive,
  offsets: Float64Array,
  options: ReadOptions,
): AsyncGenerator<readonly [entry: ZipEntry, head: Uint8Array], void, undefined> {
  const names = zip.names();
  const order = Uint32Array.from({ length: names.length }, (_, row) => row);
  order.sort((a, b) => offsets[a]! - offsets[b]!);
  const entryAt = (place: number): ZipEntry => zip.find(names[order[place]!]!)!;
  const headLength = ({ method, compressedSize }: ZipEntry): number =>
    Math.min(compressedSize, method === 0 ? MEMBER_HEAD_BYTES : PACKED_HEAD_BYTES);
  for (let first = 0; first < order.length; ) {
    const start = offsets[order[first]!]!;
    let next = first;
    let end = start;
    while (next < order.length) {
      const headEnd = offsets[order[next]!]! + headLength(entryAt(next));
      if (next > first && (offsets[order[next]!]! - end > NEAR_BYTES || headEnd - start > WINDOW_BYTES))
        break;
      end = Math.max(end, headEnd);
      next++;
    }
    const bytes = await readExactly(zip.source, start, end - start, options);
    for (; first < next; first++) {
      const entry = entryAt(first);
      const at = offsets[order[first]!]! - start;
      if (entry.compressedSize > 0) yield [entry, bytes.subarray(at, at + headLength(entry))];
    }
  }
}
