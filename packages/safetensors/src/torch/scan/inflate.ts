import { INFLATE_ALLOWANCE, MAX_INFLATE_RATIO } from "../limits.ts";

/** What came out of compressed data. */
export interface Inflated {
  readonly bytes: Uint8Array;
  /** Why it is not all: there is more than was asked for, or the data is damaged. */
  readonly short: "limit" | "damaged" | undefined;
}

/** Unpacked bytes that so many packed ones may make. */
export function inflateLimit(packed: number): number {
  return Math.max(INFLATE_ALLOWANCE, packed * MAX_INFLATE_RATIO);
}

/** Unpacks data up to a number of bytes; what comes before an error stands. */
export async function inflate(
  packed: Uint8Array,
  format: "deflate-raw" | "deflate" | "gzip",
  limit: number,
): Promise<Inflated> {
  const stream = new DecompressionStream(format);
  const writer = stream.writable.getWriter();
  // Errors come out of the reader too.
  writer.write(new Uint8Array(packed)).catch(() => {});
  writer.close().catch(() => {});
  const reader = stream.readable.getReader();
  const pieces: Uint8Array[] = [];
  let length = 0;
  let short: Inflated["short"];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const piece: Uint8Array = value.subarray(0, limit - length);
      pieces.push(piece);
      length += piece.length;
      if (piece.length < value.length) {
        short = "limit";
        await reader.cancel();
        break;
      }
    }
  } catch {
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
