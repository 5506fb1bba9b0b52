import { SafetensorsError } from "../errors.ts";
import { checkRange } from "./range.ts";
import type { ByteSource } from "./source.ts";

/**
 * Memory of any size as a source, in segments: one array has at most 4 GiB in Node 20. Like `fromBytes` it gives views
 * and copies nothing, except where a range lies in more than one segment. `close` lets the memory go.
 */
export class SegmentedBytes implements ByteSource {
  readonly size: number;
  readonly name: string | undefined;
  readonly #segmentBytes: number;
  /** By number; those not written yet are missing. */
  #segments: Uint8Array[] | undefined = [];

  /** @param segmentBytes bytes of each segment, but for the last, which may be shorter. */
  constructor(size: number, segmentBytes: number, name?: string) {
    this.size = size;
    this.name = name;
    this.#segmentBytes = segmentBytes;
  }

  /** Memory to write the bytes from `offset` to: at most `length`, less where the segment ends. */
  room(offset: number, length: number): Uint8Array {
    const segments = this.#open();
    const number = Math.floor(offset / this.#segmentBytes);
    const start = number * this.#segmentBytes;
    segments[number] ??= new Uint8Array(Math.min(this.#segmentBytes, this.size - start));
    return segments[number].subarray(offset - start, offset - start + length);
  }

  view(offset: number, length: number): Uint8Array {
    checkRange(this, offset, length);
    if (length === 0) return new Uint8Array(0);
    const bytes = this.room(offset, length);
    if (bytes.length === length) return bytes;
    const copy = new Uint8Array(length);
    this.readInto(offset, copy);
    return copy;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    return this.view(offset, length);
  }

  readInto(offset: number, target: Uint8Array): void {
    checkRange(this, offset, target.length);
    for (let done = 0; done < target.length; ) {
      const bytes = this.room(offset + done, target.length - done);
      target.set(bytes, done);
      done += bytes.length;
    }
  }

  close(): void {
    this.#segments = undefined;
  }

  #open(): Uint8Array[] {
    if (this.#segments) return this.#segments;
    throw new SafetensorsError("CLOSED", `${this.name ?? "the memory"} has been closed`);
  }
}
