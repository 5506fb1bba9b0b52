import { checkRange } from "./range.ts";
import type { ByteSource } from "./source.ts";

/** Bytes in memory as a source. Reads give views of the same memory, nothing is copied. */
export function fromBytes(input: ArrayBufferLike | ArrayBufferView, name = "memory"): ByteSource {
  const bytes = ArrayBuffer.isView(input)
    ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
    : new Uint8Array(input);
  const source = {
    size: bytes.length,
    name,
    view(offset: number, length: number): Uint8Array {
      checkRange(source, offset, length);
      return bytes.subarray(offset, offset + length);
    },
    async read(offset: number, length: number): Promise<Uint8Array> {
      return source.view(offset, length);
    },
    readInto(offset: number, target: Uint8Array): void {
      target.set(source.view(offset, target.length));
    },
  };
  return source;
}
