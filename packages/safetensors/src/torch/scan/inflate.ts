import { SafetensorsError } from "../../errors.ts";
import { MAX_INFLATE_RATIO } from "../../limits.ts";
import { fromBytes } from "../../source/memory.ts";
import { inflate as inflatePieces, type PackedFormat } from "../../zip/inflate.ts";
import { type Inflated, inflateSmall, SMALL_BYTES } from "../../zip/small-inflate.ts";
import { INFLATE_ALLOWANCE } from "../limits.ts";

/** Unpacked bytes that so many packed ones may make. */
export function inflateLimit(packed: number): number {
  return Math.max(INFLATE_ALLOWANCE, packed * MAX_INFLATE_RATIO);
}

/** Unpacks data up to a number of bytes; what comes before an error stands. */
export async function inflate(packed: Uint8Array, format: PackedFormat, limit: number): Promise<Inflated> {
  if (format === "deflate-raw" && packed.length <= SMALL_BYTES) {
    const small = inflateSmall(packed, Math.min(limit, SMALL_BYTES));
    if (small.short !== "limit" || limit <= SMALL_BYTES) return small;
  }
  // Nothing is said of its size.
  const data = { name: "", offset: 0, compressedSize: packed.length, size: 0, crc32: 0, format };
  const pieces: Uint8Array[] = [];
  let length = 0;
  let short: Inflated["short"];
  try {
    for await (const next of inflatePieces(fromBytes(packed), data)) {
      const piece = next.subarray(0, limit - length);
      pieces.push(piece);
      length += piece.length;
      if (piece.length < next.length) {
        short = "limit";
        break;
      }
    }
  } catch (error) {
    if (!(error instanceof SafetensorsError && error.code === "INVALID_ARCHIVE")) throw error;
    short = "damaged";
  }
  return { bytes: joined(pieces, length), short };
}

function joined(pieces: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
