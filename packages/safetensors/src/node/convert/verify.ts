import { crc32 } from "node:zlib";
import { readHead } from "../../checkpoint/safetensors.ts";
import { quote, SafetensorsError } from "../../errors.ts";
import type { TensorStream } from "../../save/save.ts";
import { openZip } from "../../zip/archive.ts";
import { inflateChecked } from "../../zip/inflate.ts";
import { openFile } from "../file-source.ts";
import { openWeights } from "../open-path.ts";

const BUFFER_BYTES = 1 << 20;

/**
 * Compares the members of a ZIP archive, as PyTorch and NumPy files are, with the checksums that it has. A checksum
 * of zero says that there is none.
 *
 * @throws `INVALID_ARCHIVE` if a member is damaged
 */
export async function verifyInput(path: string, signal: AbortSignal | undefined): Promise<void> {
  const source = await openFile(path, { blocking: true });
  try {
    const head = await readHead(source);
    if (head[0] !== 0x50 || head[1] !== 0x4b) return;
    const zip = await openZip(source);
    const offsets = await zip.dataOffsets();
    const buffer = new Uint8Array(BUFFER_BYTES);
    for (const name of zip.names()) {
      const entry = zip.find(name)!;
      const { crc32: expected, size, row } = entry;
      const offset = offsets[row]!;
      if (entry.method !== 0) {
        for await (const _ of inflateChecked(source, { ...entry, offset })) signal?.throwIfAborted();
        continue;
      }
      if (expected === 0) continue;
      let sum = 0;
      for (let done = 0; done < size; done += buffer.length) {
        signal?.throwIfAborted();
        const chunk = buffer.subarray(0, Math.min(buffer.length, size - done));
        source.readInto(offset + done, chunk);
        sum = crc32(chunk, sum);
      }
      if (sum === expected) continue;
      const text = `${quote(name)} is damaged: its checksum is not the one that the archive has; get the file again`;
      throw new SafetensorsError("INVALID_ARCHIVE", text, { at: offset });
    }
  } finally {
    await source.close();
  }
}

/**
 * Reads a PyTorch file again, which has the checksums of what was to be written.
 *
 * @param temporary where it is; `path` is where it will be, for the message.
 * @throws `IO` if it holds something else
 */
export async function verifyWritten(
  temporary: string,
  path: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await verifyInput(temporary, signal);
  } catch (cause) {
    if (!(cause instanceof SafetensorsError) || cause.code !== "INVALID_ARCHIVE") throw cause;
    const text = `${path} could not be written: it reads back differently; is the disk failing?`;
    throw new SafetensorsError("IO", text, { file: path, cause });
  }
}

/** Checksums of tensors, taken while they are written, to compare the file with. */
export class WrittenSums {
  /** The tensors to write instead: the same, with an ear at their bytes. */
  readonly tensors: ReadonlyMap<string, TensorStream>;
  readonly #sums = new Map<string, number>();

  constructor(tensors: ReadonlyMap<string, TensorStream>) {
    this.tensors = new Map(Array.from(tensors, ([name, tensor]) => [name, this.#listened(name, tensor)]));
  }

  /**
   * Reads the file again.
   *
   * @param temporary where it is; `path` is where it will be, for the message.
   * @throws `IO` if a tensor of the file is not what was to be written
   */
  async check(temporary: string, path: string, signal: AbortSignal | undefined): Promise<void> {
    await using written = await openWeights(temporary, { blocking: true, readers: [] });
    const buffer = new Uint8Array(BUFFER_BYTES);
    for (const [name, expected] of this.#sums) {
      let sum = 0;
      for await (const chunk of written.get(name).chunks(buffer, { signal })) sum = crc32(chunk, sum);
      if (sum === expected) continue;
      const text = `${path} could not be written: tensor ${quote(name)} reads back differently; is the disk failing?`;
      throw new SafetensorsError("IO", text, { file: path, tensor: name });
    }
  }

  #listened(name: string, tensor: TensorStream): TensorStream {
    const sums = this.#sums;
    async function* chunks(
      ...args: Parameters<TensorStream["chunks"]>
    ): AsyncGenerator<Uint8Array, void, undefined> {
      let sum = 0;
      for await (const chunk of tensor.chunks(...args)) {
        sum = crc32(chunk, sum);
        yield chunk;
      }
      sums.set(name, sum);
    }
    return { dtype: tensor.dtype, shape: tensor.shape, chunks };
  }
}
