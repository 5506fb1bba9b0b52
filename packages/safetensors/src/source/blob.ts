import { SafetensorsError } from "../errors.ts";
import { checkRange } from "./range.ts";
import type { ByteSource, ReadOptions } from "./source.ts";

/** A Blob or File as a source: each read slices it, the whole is never in memory. */
export function fromBlob(blob: Blob): ByteSource {
  const name = "name" in blob && typeof blob.name === "string" ? blob.name : "blob";
  const source: ByteSource = {
    size: blob.size,
    name,
    // Measured in Chromium: half a millisecond for each slice, a gigabyte a second.
    cost: { operation: 0.5e-3, byte: 1e-9 },
    async read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
      checkRange(source, offset, length);
      options?.signal?.throwIfAborted();
      let bytes: Uint8Array;
      try {
        bytes = new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
      } catch (cause) {
        // A File that was changed or deleted since it was picked fails here.
        throw new SafetensorsError("IO", `${name} can no longer be read`, { at: offset, cause });
      }
      options?.signal?.throwIfAborted();
      if (bytes.length !== length) {
        throw new SafetensorsError("SHORT_READ", `${bytes.length} of ${length} bytes came from ${name}`, {
          at: offset,
        });
      }
      return bytes;
    },
  };
  return source;
}
