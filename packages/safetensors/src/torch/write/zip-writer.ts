import type { Chunks } from "../../save/writer.ts";
import { type Crc32, crc32 } from "../../zip/crc32.ts";
import { ByteBuilder } from "./byte-builder.ts";
import type { Output } from "./output.ts";
import { dataDescriptor, directoryEntry, endRecords, localHeader } from "./zip-headers.ts";

const utf8 = new TextEncoder();

/**
 * Writes a ZIP archive of stored members as a stream, laid out as PyTorch's own writer does. Of each member only its
 * entry in the directory is kept, some 60 bytes.
 */
export class ZipWriter {
  readonly #out: Output;
  readonly #root: string;
  readonly #crc32: Crc32;
  readonly #record = new ByteBuilder();
  readonly #directory = new ByteBuilder();
  #count = 0;
  #nameDigest = 0;
  #dataDigest = 0;

  /**
   * @param root the folder of all members.
   * @param checksum how to compute checksums, where the runtime has something faster.
   */
  constructor(out: Output, root: string, checksum: Crc32 = crc32) {
    this.#out = out;
    this.#root = root;
    this.#crc32 = checksum;
  }

  /**
   * A number of 40 decimal digits that tells archives apart by the names and checksums of their members so far. PyTorch
   * puts such a number into the record `.data/serialization_id`; its own hash differs between its builds.
   */
  get serializationId(): string {
    return [this.#nameDigest, this.#dataDigest].map((digest) => `${digest}`.padStart(20, "0")).join("");
  }

  /**
   * Adds a member. Gives how many bytes came, and their checksum; unless they are `size` bytes, the archive can only be given
   * up.
   */
  async add(record: string, size: number, chunks: Chunks): Promise<{ written: number; checksum: number }> {
    const name = utf8.encode(`${this.#root}/${record}`);
    const headerOffset = this.#out.offset;
    const header = this.#put((out) => localHeader(out, { name, size, headerOffset }));
    if (header) await header;
    let checksum = 0;
    let written = 0;
    for await (const chunk of chunks) {
      written += chunk.length;
      if (written > size) return { written, checksum };
      checksum = this.#crc32(chunk, checksum);
      const waiting = this.#out.write(chunk);
      if (waiting) await waiting;
    }
    const member = { name, size, crc32: checksum, headerOffset };
    const descriptor = this.#put((out) => dataDescriptor(out, member));
    if (descriptor) await descriptor;
    directoryEntry(this.#directory, member);
    this.#count++;
    this.#digest(name, checksum);
    return { written, checksum };
  }

  /** Ends the archive with its directory. Everything is in the sink then, which is not committed. */
  async finish(): Promise<void> {
    const { offset } = this.#out;
    const { bytes } = this.#directory;
    await this.#out.write(bytes);
    await this.#put((out) => endRecords(out, this.#count, bytes.length, offset));
    await this.#out.flush();
  }

  #put(write: (out: ByteBuilder) => void): void | Promise<void> {
    this.#record.clear();
    write(this.#record);
    return this.#out.write(this.#record.bytes);
  }

  #digest(name: Uint8Array, checksum: number): void {
    this.#nameDigest = crc32(name, this.#nameDigest);
    this.#record.clear();
    this.#record.uint32(checksum);
    this.#dataDigest = crc32(this.#record.bytes, this.#dataDigest);
  }
}
