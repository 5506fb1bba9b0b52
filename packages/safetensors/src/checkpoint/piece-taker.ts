import { quote, SafetensorsError } from "../errors.ts";
import type { ReadOptions } from "../source/source.ts";
import type { TensorHandle } from "./tensor.ts";

/**
 * The packed bytes of a tensor in order, in pieces of the sizes that the taker asks for. Whoever took them closes it in the
 * end.
 */
export class PieceTaker {
  readonly #tensor: TensorHandle;
  readonly #pieces: AsyncGenerator<Uint8Array, void, undefined>;
  readonly #capacity: number;
  /** What is left of the last piece that the tensor gave. */
  #rest: Uint8Array = new Uint8Array(0);
  #joined: Uint8Array | undefined;

  /** @param buffer the memory that the pieces go through; no more than its length can be taken at once. */
  constructor(tensor: TensorHandle, buffer: Uint8Array, options?: ReadOptions) {
    this.#tensor = tensor;
    this.#pieces = tensor.chunks(buffer, options);
    this.#capacity = buffer.length;
  }

  /** The next `size` bytes, valid until the next call. `SHORT_READ` if the tensor has no more. */
  async take(size: number): Promise<Uint8Array> {
    if (this.#rest.length === 0) await this.#advance();
    if (this.#rest.length >= size) return this.#cut(size);
    // A tensor that is gathered from strided data may come in pieces that are not full.
    this.#joined ??= new Uint8Array(this.#capacity);
    let filled = 0;
    while (filled < size) {
      if (this.#rest.length === 0) await this.#advance();
      const part = this.#cut(Math.min(size - filled, this.#rest.length));
      this.#joined.set(part, filled);
      filled += part.length;
    }
    return this.#joined.subarray(0, size);
  }

  /** Lets go of the tensor. */
  async close(): Promise<void> {
    await this.#pieces.return();
  }

  #cut(size: number): Uint8Array {
    const part = this.#rest.subarray(0, size);
    this.#rest = this.#rest.subarray(size);
    return part;
  }

  async #advance(): Promise<void> {
    const { value, done } = await this.#pieces.next();
    if (!done) {
      this.#rest = value;
      return;
    }
    const { name } = this.#tensor;
    throw new SafetensorsError("SHORT_READ", `the data of tensor ${quote(name)} ends too soon`, {
      tensor: name,
    });
  }
}
