import { write } from "node:fs";
import type { ByteRange, CopyOptions } from "../../save/sink.ts";
import { ioError } from "../io-error.ts";

/** Pieces under way at once: one is read, one is written, and one waits, so that neither ever has to. */
const PIECES = 3;

/** Bytes of a piece: so few that all stay in the processor's cache. */
const PIECE_BYTES = 1 << 20;

/** Memory from the system begins 16 bytes into a page, where AMD's Zen 3 copies from the kernel at a third of its speed. */
const BUFFER_START = 64;

/** Memory for `copyRange`, to be used again and again: the first touch of fresh memory takes longer than the copy. */
export function copyBuffers(): readonly Uint8Array[] {
  return Array.from({ length: PIECES }, () =>
    new Uint8Array(BUFFER_START + PIECE_BYTES).subarray(BUFFER_START),
  );
}

/**
 * Copies bytes into an open file, so that reading and writing take their time side by side: two thirds of the time that
 * they take one after the other (measured).
 *
 * @param path what to call the file in errors.
 * @param position where the bytes go.
 * @param buffers of `copyBuffers`, which nobody else uses meanwhile.
 * @throws errors of reading; the signal's reason; `IO` for those of writing. Nothing is under way any more then
 */
export async function copyRange(
  fd: number,
  path: string,
  position: number,
  { length, read }: ByteRange,
  buffers: readonly Uint8Array[],
  { signal, onCopied }: CopyOptions,
): Promise<void> {
  let next = 0;
  const worker = async (buffer: Uint8Array): Promise<void> => {
    while (next < length) {
      const start = next;
      next = Math.min(start + buffer.length, length);
      const piece = buffer.subarray(0, next - start);
      try {
        signal?.throwIfAborted();
        await read(start, piece, { signal });
        await writeAt(fd, path, piece, position + start);
        onCopied(piece.length);
      } catch (error) {
        next = length;
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(buffers.map(worker));
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

async function writeAt(fd: number, path: string, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += await new Promise<number>((resolve, reject) => {
      write(fd, bytes, done, bytes.length - done, position + done, (cause, count) => {
        if (cause) reject(ioError(path, "write", cause));
        else resolve(count);
      });
    });
  }
}
