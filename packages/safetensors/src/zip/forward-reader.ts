import type { ReadOptions } from "../source/source.ts";
import { waitFor } from "./wait.ts";

/** A read that somebody waits for. */
interface Read {
  readonly offset: number;
  readonly target: Uint8Array;
}

/**
 * Reads of data that comes in pieces, from the begin on: each begins where the one before ends, or behind that. They are
 * served in the order in which they are asked for, and hold one piece. The data is given up when all who wait have.
 */
export class ForwardReader {
  readonly #pieces: AsyncGenerator<Uint8Array, void, undefined>;
  readonly #stopper: AbortController;
  readonly #reads = new Set<Read>();
  /** Ends when all reads so far have. Never rejects. */
  #last: Promise<void> = Promise.resolve();
  #end = 0;
  /** What is left of the last piece, and where it lies in the data. */
  #piece: Uint8Array = new Uint8Array(0);
  #at = 0;
  #failure: { readonly error: unknown } | undefined;

  /** @param begin begins the data; the signal ends it. */
  constructor(begin: (signal: AbortSignal) => AsyncGenerator<Uint8Array, void, undefined>) {
    this.#stopper = new AbortController();
    this.#pieces = begin(this.#stopper.signal);
  }

  /** Where the last read ends. */
  get end(): number {
    return this.#end;
  }

  get isBusy(): boolean {
    return this.#reads.size > 0;
  }

  /** Whether nothing can be read any more: it has failed, or was stopped. */
  get isOver(): boolean {
    return this.#failure !== undefined;
  }

  /** @param offset not before `end`; what lies between is thrown away. */
  readInto(offset: number, target: Uint8Array, options?: ReadOptions): Promise<void> {
    this.#end = offset + target.length;
    const read = { offset, target };
    this.#reads.add(read);
    const work = this.#last.then(() => this.#fill(read)).finally(() => this.#reads.delete(read));
    this.#last = work.catch(() => {});
    return waitFor(work, options?.signal, (reason) => {
      this.#reads.delete(read);
      if (!this.isBusy) this.stop(reason);
    });
  }

  /** Ends the data, and with this reason the reads that are not complete. */
  stop(reason: unknown): void {
    this.#failure ??= { error: reason };
    this.#piece = new Uint8Array(0);
    this.#stopper.abort(reason);
    void this.#pieces.return().catch(() => {});
  }

  /** Fills the caller's memory, unless the caller is gone. */
  async #fill(read: Read): Promise<void> {
    const { offset, target } = read;
    for (let done = 0; this.#reads.has(read) && done < target.length; ) {
      const from = offset + done - this.#at;
      const part = this.#piece.subarray(from, from + target.length - done);
      target.set(part, done);
      done += part.length;
      const used = Math.min(from + part.length, this.#piece.length);
      this.#piece = this.#piece.subarray(used);
      this.#at += used;
      if (done < target.length) this.#piece = await this.#next();
    }
  }

  async #next(): Promise<Uint8Array> {
    try {
      if (this.#failure) throw this.#failure.error;
      const { value } = await this.#pieces.next();
      if (value) return value;
    } catch (error) {
      this.#failure ??= { error };
    }
    // Data that ends too early has failed, or was stopped.
    throw this.#failure?.error;
  }
}
