import { quote, SafetensorsError } from "../errors.ts";
import type { StridedView } from "../view/view.ts";
import { TensorHandle } from "./tensor.ts";

/** What a reader knows of a file: the names in file order, and where each tensor lies. */
export interface TensorIndex {
  readonly size: number;
  names(): Iterable<string>;
  find(name: string): StridedView | undefined;
}

/** What `Checkpoint` is made from. */
export interface CheckpointParts {
  /** Which reader made it: "safetensors", "torch", … */
  readonly format: string;
  readonly tensors: TensorIndex;
  readonly metadata?: ReadonlyMap<string, string>;
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
  readonly problems: readonly SafetensorsError[];
  readonly #tensors: TensorIndex;
  readonly #close: (() => void | Promise<void>) | undefined;

  constructor(parts: CheckpointParts) {
    this.format = parts.format;
    this.metadata = parts.metadata ?? new Map();
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

  /** Releases the files. Tensors can no longer be read then; data already read stays. */
  async close(): Promise<void> {
    await this.#close?.();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
