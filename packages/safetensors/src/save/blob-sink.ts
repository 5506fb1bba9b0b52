import type { Sink } from "./sink.ts";

/** Bytes of a part: a few thousand parts hold the largest checkpoints, and a browser moves large Blobs to the disk. */
const PART_BYTES = 4 << 20;

/**
 * A sink that makes a Blob, `blob()`, once it has been committed. A browser may keep a Blob outside the memory of the page,
 * on the disk if it is large: it is put together of parts of 4 MiB, and only one of them is held here.
 *
 * @param options `type` is the Blob's media type, "application/octet-stream" unless said otherwise.
 */
export function blobSink({
  type = "application/octet-stream",
}: {
  type?: string;
} = {}): Sink & { blob(): Blob } {
  const buffer = new Uint8Array(PART_BYTES);
  let used = 0;
  let parts: Blob[] = [];
  let whole: Blob | undefined;
  const flush = (): void => {
    // The Blob takes a copy.
    parts.push(new Blob([buffer.subarray(0, used)]));
    used = 0;
  };
  return {
    write(bytes) {
      for (let at = 0; at < bytes.length; ) {
        const piece = bytes.subarray(at, at + PART_BYTES - used);
        buffer.set(piece, used);
        used += piece.length;
        at += piece.length;
        if (used === PART_BYTES) flush();
      }
    },
    async commit() {
      flush();
      whole = new Blob(parts, { type });
      parts = [];
    },
    async abort() {
      parts = [];
    },
    blob() {
      if (!whole) throw new Error("the sink has not been committed");
      return whole;
    },
  };
}
