import { quote, SafetensorsError } from "../errors.ts";
import type { PlanSummary } from "../plan/plan.ts";
import type { TensorView } from "../view/tiling.ts";
import type { LoadOptions } from "./load.ts";
import type { LoadedTensor, ReadTensorsOptions, TensorChoice } from "./read-tensors.ts";
import { TensorHandle } from "./tensor.ts";

/** What a reader knows of a file: the names in file order, and where each tensor lies. */
export interface TensorIndex {
  readonly size: number;
  names(): Iterable<string>;
  find(name: string): TensorView | undefined;
}

/** What `Checkpoint` is made from. */
export interface CheckpointParts {
  /** Which reader made it: "safetensors", "torch", … */
  readonly format: string;
  readonly tensors: TensorIndex;
  readonly metadata?: ReadonlyMap<string, string>;
  /** See `Checkpoint.renamed`. */
  readonly renamed?: ReadonlyMap<string, readonly string[]>;
  /** What a lenient reader found wrong. */
  readonly problems?: readonly SafetensorsError[];
  readonly close?: () => void | Promise<void>;
}

/**
 * What every reader returns: an ordered map of lazy tensors, with string metadata. One file, many shards, a folder, a
 * PyTorch archive: the same interface. Only headers have been read.
 */
export class Checkpoint implements AsyncDisposable {
  readonly format: string;
  readonly metadata: ReadonlyMap<string, string>;
  /**
   * Tensors of the file that have other names here, as they are given in parts, or none, as they were left out: by their
   * names in the file, which an index has.
   */
  readonly renamed: ReadonlyMap<string, readonly string[]>;
  readonly problems: readonly SafetensorsError[];
  readonly #tensors: TensorIndex;
  readonly #close: (() => void | Promise<void>) | undefined;

  constructor(parts: CheckpointParts) {
    this.format = parts.format;
    this.metadata = parts.metadata ?? new Map();
    this.renamed = parts.renamed ?? new Map();
    this.problems = parts.problems ?? [];
    this.#tensors = parts.tensors;
    this.#close = parts.close;
  }

  /** Number of tensors. */
  get size(): number {
    return this.#tensors.size;
  }

  /** The names, in the order of the data in the file. */
  keys(): Iterable<string> {
    return this.#tensors.names();
  }

  has(name: string): boolean {
    return this.#tensors.find(name) !== undefined;
  }

  /** The tensor of that name; `TENSOR_NOT_FOUND` if there is none. */
  get(name: string): TensorHandle {
    const view = this.#tensors.find(name);
    if (view) return new TensorHandle(name, view);
    throw new SafetensorsError("TENSOR_NOT_FOUND", `there is no tensor named ${quote(name)}`, {
      tensor: name,
    });
  }

  /** The tensors, in the order of the data in the file. */
  *[Symbol.iterator](): IterableIterator<TensorHandle> {
    for (const name of this.#tensors.names()) yield this.get(name);
  }

  /**
   * Reads tensors, or parts of them, in the order of their data: with few large reads, several at a time, inside a
   * memory budget, and no further ahead than the budget allows while the caller is busy.
   *
   * @throws `TENSOR_NOT_FOUND`; errors of the source, with the tensor; `LIMIT_EXCEEDED` if the budget is too small
   */
  async *read(options: ReadTensorsOptions = {}): AsyncGenerator<LoadedTensor, void, undefined> {
    const { readTensors } = await import("./read-tensors.ts");
    yield* readTensors(this, options);
  }

  /**
   * Reads tensors, or parts of them, into memory of their own, all at once: few large pieces of memory, in which each
   * tensor begins at a multiple of 64 bytes. It holds everything, so for large checkpoints see `read`.
   *
   * @returns the tensors by name, in the order of their data
   * @throws what `read` throws
   */
  async load(options: LoadOptions = {}): Promise<Map<string, LoadedTensor>> {
    const { loadTensors } = await import("./load.ts");
    return loadTensors(this, options);
  }

  /** What `read` would do with the same choice of tensors: bytes and requests, for each source. Nothing is read. */
  async plan(choice: TensorChoice & Pick<ReadTensorsOptions, "budget"> = {}): Promise<PlanSummary> {
    const { planTensors } = await import("./read-tensors.ts");
    return planTensors(this, choice);
  }

  /** Releases the files. Tensors can no longer be read then; data already read stays. */
  async close(): Promise<void> {
    await this.#close?.();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
