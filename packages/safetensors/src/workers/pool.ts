import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { LoadedTensor, ReadTensorsOptions } from "../checkpoint/read-tensors.ts";
import { chooseNames } from "../checkpoint/select.ts";
import type { Dtype } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import type { ReadMode } from "../format/mode.ts";
import type { UrlOptions } from "../source/http.ts";
import type { ReadOptions } from "../source/source.ts";
import type { IndexItem } from "../view/index-items.ts";
import { budgetFor } from "./budget.ts";
import { Crew } from "./crew.ts";
import type { WantedTensor } from "./groups.ts";
import { checkpointOf } from "./headers.ts";
import { type PoolInput, toSend } from "./input.ts";
import type { SentIndex, TensorForm } from "./messages.ts";
import { workerCount } from "./thread.ts";

/** Options of `openPool`. */
export interface PoolOptions extends ReadOptions, Pick<UrlOptions, "headers" | "retry"> {
  /** Number of workers; unless said otherwise one for each processor, 4 at most. */
  readonly workers?: number | undefined;
  /** How strictly headers are read; `strict` unless said otherwise. */
  readonly mode?: ReadMode | undefined;
  /**
   * The program of the workers, where a bundler has moved it: `workers/worker.js` of this package, in Node, Deno and
   * Bun `node/pool-worker.js`, each bundled by itself.
   */
  readonly program?: URL | undefined;
}

/** How tensors are to come. */
export interface PoolGetOptions<F extends TensorForm = TensorForm> extends ReadOptions {
  /** "bytes" (the default): packed, of their own dtype. "F32": as 32-bit floats, see `TensorHandle.toFloat32`. */
  readonly as?: F | undefined;
  /** The part to read, as in `TensorHandle.slice`. */
  readonly slice?: readonly IndexItem[] | undefined;
  /** See `PoolReadOptions`. */
  readonly budget?: number | undefined;
}

/** Options of `WorkerPool.read`. */
export interface PoolReadOptions<F extends TensorForm = TensorForm>
  extends Pick<ReadTensorsOptions, "names" | "slices" | "order" | "borrowed" | "signal" | "onProgress">,
    Pick<PoolGetOptions<F>, "as"> {
  /**
   * Most bytes held at once: of tensors from their first read until the caller asks for the next one, and of what is
   * being decoded. 256 MiB unless said otherwise, or what the largest tensor needs. Each worker has up to 40 MiB beside
   * it to work in.
   */
  readonly budget?: number | undefined;
}

/** A tensor read by a pool; its bytes lie in a SharedArrayBuffer, which several small tensors share. */
export type PoolTensor<F extends TensorForm> = LoadedTensor<F extends "F32" ? "F32" : Dtype>;

/** What is known of a tensor before it is read. */
export interface PoolTensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Bytes of the elements, packed. */
  readonly byteLength: number;
}

/**
 * Opens a checkpoint in workers, which read and decode its tensors beside the main thread. Each worker opens the input
 * for itself and reads the headers; the main thread gets these from one of them. A file that is replaced meanwhile is
 * noticed where its tensors differ in dtype or size. PyTorch files are read, too. Bytes that are not in a
 * SharedArrayBuffer are copied into one.
 *
 * Workers keep a process alive only while they open or read. Close the pool when done (`await using` does).
 *
 * @throws every error of opening; `UNSUPPORTED` where there are no workers or no shared memory: a web page must be
 *   served with the headers `Cross-Origin-Opener-Policy: same-origin` and `Cross-Origin-Embedder-Policy: require-corp`
 */
export async function openPool(input: PoolInput, options: PoolOptions = {}): Promise<WorkerPool> {
  const { signal, mode, program } = options;
  signal?.throwIfAborted();
  const crew = new Crew(workerCount(options.workers), program);
  const abort = (): void => void crew.end(signal?.reason);
  signal?.addEventListener("abort", abort);
  try {
    return new WorkerPool(crew, await crew.open(toSend(input, options), mode));
  } catch (error) {
    await crew.end(error);
    throw error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** A checkpoint that is read by workers. See `openPool`. */
export class WorkerPool implements AsyncDisposable {
  readonly #crew: Crew;
  /** For what it knows of names; its tensors have no data. */
  readonly #checkpoint: Checkpoint;

  constructor(crew: Crew, index: SentIndex) {
    this.#crew = crew;
    this.#checkpoint = checkpointOf(index);
  }

  get format(): string {
    return this.#checkpoint.format;
  }

  get metadata(): ReadonlyMap<string, string> {
    return this.#checkpoint.metadata;
  }

  /** What a lenient reader found wrong. */
  get problems(): readonly SafetensorsError[] {
    return this.#checkpoint.problems;
  }

  /** Number of tensors. */
  get size(): number {
    return this.#checkpoint.size;
  }

  /** The names, in the order of the data in the file. */
  keys(): Iterable<string> {
    return this.#checkpoint.keys();
  }

  has(name: string): boolean {
    return this.#checkpoint.has(name);
  }

  /** What is known of a tensor; `TENSOR_NOT_FOUND` if there is none of that name. */
  info(name: string): PoolTensorInfo {
    const { dtype, shape, byteLength } = this.#checkpoint.get(name);
    return { name, dtype, shape, byteLength };
  }

  /**
   * Reads tensors, or parts of them, in the order of their data unless said otherwise. A large tensor is read by all
   * workers together, many small ones in one go. While the caller is busy, others are read ahead as far as the budget
   * allows. Progress counts the bytes of the tensors before they are decoded.
   *
   * @throws `TENSOR_NOT_FOUND`, `INVALID_SLICE`; errors of the source, with the tensor; the signal's reason;
   *   `LIMIT_EXCEEDED` if the budget is too small, before anything is read; `IO` if a worker dies; `CLOSED`
   */
  async *read<F extends TensorForm = "bytes">(
    options: PoolReadOptions<F> = {},
  ): AsyncGenerator<PoolTensor<F>, void, undefined> {
    this.#crew.throwIfOver();
    const { signal, onProgress, borrowed = false } = options;
    const form: TensorForm = options.as ?? "bytes";
    if (form !== "bytes" && form !== "F32") {
      throw new SafetensorsError(
        "UNSUPPORTED",
        `tensors come as "bytes" or "F32", not as ${quote(String(form))}`,
      );
    }
    const wanted = this.#choose(options);
    const { size: workers, slots } = this.#crew;
    const groups = { form, workers, slots };
    const budget = budgetFor(wanted, options.budget, groups);
    const tensors = this.#crew.read(wanted, { ...groups, budget, borrowed, signal, onProgress });
    yield* tensors as AsyncGenerator<PoolTensor<F>, void, undefined>;
  }

  /** Reads one tensor, or a part of it. Throws as `read` does. */
  async get<F extends TensorForm = "bytes">(
    name: string,
    { slice, ...options }: PoolGetOptions<F> = {},
  ): Promise<PoolTensor<F>> {
    const slices = slice && new Map([[name, slice]]);
    const tensors: PoolTensor<F>[] = [];
    for await (const tensor of this.read({ ...options, names: [name], slices })) tensors.push(tensor);
    return tensors[0]!;
  }

  /** Ends the workers, and with them all reading. Tensors that have been handed out stay. */
  async close(): Promise<void> {
    await this.#crew.end(new SafetensorsError("CLOSED", "the pool has been closed"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #choose({ names, slices, order }: PoolReadOptions): WantedTensor[] {
    return [...chooseNames(this.#checkpoint, names, order)].map((name) => {
      const whole = this.#checkpoint.get(name);
      const slice = slices?.get(name);
      return { whole, slice, chosen: slice ? whole.slice(...slice) : whole };
    });
  }
}
