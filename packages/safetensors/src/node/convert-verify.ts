import { crc32 } from "node:zlib";
import { quote, SafetensorsError } from "../errors.ts";
import type { TensorStream } from "../save/save.ts";
import { openWeights } from "./open-path.ts";

const BUFFER_BYTES = 1 << 20;

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
