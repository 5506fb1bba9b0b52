import { quote, SafetensorsError } from "../errors.ts";
import { byteLength } from "../view/view.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { ReadPlan } from "./plan.ts";

/** Where the memory of tensors comes from; unless said otherwise it is new, and the caller's to keep. */
export interface MemoryOptions {
  /** Memory to fill for each tensor, of exactly its size, asked for when its first read begins. It is not counted. */
  readonly targetOf?: ((tensor: number) => Uint8Array) | undefined;
  /** The memory of a tensor is taken back, and used again, when the next one is asked for. */
  readonly borrowed?: boolean | undefined;
  /** Name of a tensor, for errors. */
  readonly nameOf?: ((tensor: number) => string) | undefined;
}

/** The tensors that have been begun and are not yet complete, and the memory of all until it is taken back. */
export class OpenTensors {
  readonly #plan: ReadPlan;
  readonly #pool: BufferPool;
  readonly #options: MemoryOptions;
  readonly #memory = new Map<number, Uint8Array>();
  /** Units that each tensor still waits for. */
  readonly #waiting: Uint32Array;

  constructor(plan: ReadPlan, pool: BufferPool, options: MemoryOptions) {
    this.#plan = plan;
    this.#pool = pool;
    this.#options = options;
    this.#waiting = plan.unitsOf.slice();
  }

  /** Bytes of the budget that it takes to begin these. */
  bytesToBegin(tensors: readonly number[]): number {
    return tensors.reduce((sum, tensor) => sum + this.#counted(tensor), 0);
  }

  begin(tensor: number): void {
    const { targetOf, borrowed } = this.#options;
    const size = this.#sizeOf(tensor);
    const bytes = targetOf ? targetOf(tensor) : borrowed ? this.#pool.take(size) : new Uint8Array(size);
    if (bytes.length !== size) throw this.#wrongSize(tensor, bytes.length);
    if (!targetOf && !borrowed) this.#pool.reserve(size);
    // Bits behind the last element are nobody's, but they must not depend on what was here before.
    if (size > 0) bytes[size - 1] = 0;
    this.#memory.set(tensor, bytes);
  }

  memoryOf(tensor: number): Uint8Array {
    return this.#memory.get(tensor)!;
  }

  /** Notes that a unit has arrived; gives the tensor's memory if it was the last one. */
  arrived(tensor: number): Uint8Array | undefined {
    this.#waiting[tensor]!--;
    return this.#waiting[tensor] === 0 ? this.close(tensor) : undefined;
  }

  /** The memory of a tensor that waits for nothing. */
  close(tensor: number): Uint8Array {
    const bytes = this.#memory.get(tensor)!;
    this.#memory.delete(tensor);
    return bytes;
  }

  /** The caller is done with a tensor, or has made its memory its own. */
  takeBack(tensor: number, bytes: Uint8Array): void {
    const size = this.#counted(tensor);
    // Memory that was sent to another thread has no length any more.
    if (this.#options.borrowed && size > 0 && bytes.length === size) this.#pool.give(bytes);
    else this.#pool.release(size);
  }

  #counted(tensor: number): number {
    return this.#options.targetOf ? 0 : this.#sizeOf(tensor);
  }

  #sizeOf(tensor: number): number {
    return byteLength(this.#plan.views[tensor]!);
  }

  #wrongSize(tensor: number, given: number): SafetensorsError {
    const name = this.#options.nameOf?.(tensor);
    const which = name === undefined ? `tensor ${tensor}` : `tensor ${quote(name)}`;
    const text = `the memory given for ${which} has ${given} bytes, its data has ${this.#sizeOf(tensor)}`;
    return new SafetensorsError("SIZE_MISMATCH", text, name === undefined ? {} : { tensor: name });
  }
}
