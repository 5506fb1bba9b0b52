import { quote, SafetensorsError } from "../errors.ts";
import { encodeHeader, type HeaderOptions, type TensorSpec } from "../format/encode.ts";
import type { TensorInfo } from "../format/header.ts";
import type { ReadOptions } from "../source/source.ts";
import type { Sink } from "./sink.ts";

/** The bytes of a tensor in order, in one piece or many. */
export type Chunks = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/**
 * Writes a safetensors file as a stream: names, dtypes and shapes first, then the bytes of each tensor in the order of
 * `tensors`. It holds no data, so that memory does not grow with the file.
 *
 * The caller ends with `finish` or `abort`; after an error only `abort` is left.
 */
export class SafetensorsWriter {
  /** The tensors in the order in which their data must come. */
  readonly tensors: readonly TensorInfo[];
  readonly #sink: Sink;
  #next = 0;
  /** Whether bytes of the next tensor have been written, but not all. */
  #broken = false;

  private constructor(sink: Sink, tensors: readonly TensorInfo[]) {
    this.#sink = sink;
    this.tensors = tensors;
  }

  /** Begins a file by writing its header. Throws what `encodeHeader` throws, and leaves the sink to the caller then. */
  static async begin(
    sink: Sink,
    specs: Iterable<readonly [name: string, spec: TensorSpec]>,
    options: HeaderOptions & ReadOptions = {},
  ): Promise<SafetensorsWriter> {
    const header = encodeHeader(specs, options);
    sink.begin?.(header.bytes.length + header.dataLength, options);
    await sink.write(header.bytes);
    return new SafetensorsWriter(sink, header.tensors);
  }

  /**
   * Writes the next tensor.
   *
   * @throws `WRONG_ORDER` if another tensor is due, `SIZE_MISMATCH` if the bytes do not fill what was declared.
   */
  async write(name: string, chunks: Chunks): Promise<void> {
    const due = this.tensors[this.#next];
    if (due?.name !== name) {
      const expected = due ? `tensor ${quote(due.name)} is due` : "all tensors have been written";
      throw new SafetensorsError("WRONG_ORDER", `tensor ${quote(name)} was given, but ${expected}`, {
        tensor: name,
      });
    }
    this.#checkWhole();
    this.#broken = true;
    const size = due.dataOffsets[1] - due.dataOffsets[0];
    for await (const chunk of exactly(name, size, chunks)) {
      const wait = this.#sink.write(chunk);
      if (wait) await wait;
    }
    this.#broken = false;
    this.#next++;
  }

  /** Ends the file; it is complete and in its place when this returns. */
  async finish(): Promise<void> {
    this.#checkWhole();
    const due = this.tensors[this.#next];
    if (due)
      throw new SafetensorsError("WRONG_ORDER", `the data of tensor ${quote(due.name)} is missing`, {
        tensor: due.name,
      });
    await this.#sink.commit();
  }

  /** Gives the file up, as far as it is known why: the sink leaves no trace of it. */
  async abort(reason?: unknown): Promise<void> {
    await this.#sink.abort(reason);
  }

  #checkWhole(): void {
    if (!this.#broken) return;
    const name = this.tensors[this.#next]!.name;
    const text = `tensor ${quote(name)} was not written to its end; the file can only be given up`;
    throw new SafetensorsError("WRONG_ORDER", text, { tensor: name });
  }
}

/**
 * Passes the chunks of a tensor on as long as they fit its size.
 *
 * @throws `SIZE_MISMATCH` unless they fill it
 */
export async function* exactly(
  name: string,
  size: number,
  chunks: Chunks,
): AsyncGenerator<Uint8Array, void, undefined> {
  const mismatch = (amount: string): SafetensorsError => {
    const text = `tensor ${quote(name)} was declared with ${size} bytes, but ${amount} came`;
    return new SafetensorsError("SIZE_MISMATCH", text, { tensor: name });
  };
  let came = 0;
  for await (const chunk of chunks) {
    came += chunk.length;
    if (came > size) throw mismatch("more");
    yield chunk;
  }
  if (came < size) throw mismatch(`only ${came}`);
}
