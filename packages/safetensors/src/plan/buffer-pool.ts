/**
 * The memory of a run: counts what is in use against a budget, and keeps buffers that have served for the next reads,
 * because the first touch of fresh memory costs several times the copy into it (page faults).
 *
 * In use and kept together never exceed the budget, as long as the caller asks `fits` first.
 */
export class BufferPool {
  /** Bytes. */
  readonly budget: number;
  #used = 0;
  #kept = 0;
  /** Buffers that are not in use, by their size: a model has few sizes. */
  readonly #bySize = new Map<number, Uint8Array[]>();

  constructor(budget: number) {
    this.budget = budget;
  }

  /** Bytes in use. */
  get used(): number {
    return this.#used;
  }

  /** Bytes that are kept though not in use. */
  get kept(): number {
    return this.#kept;
  }

  fits(bytes: number): boolean {
    return this.#used + bytes <= this.budget;
  }

  /** Memory of exactly `size` bytes, with any content. */
  take(size: number): Uint8Array {
    const buffer = this.#bySize.get(size)?.pop();
    if (buffer) this.#kept -= size;
    this.reserve(size);
    return buffer ?? new Uint8Array(size);
  }

  /** Takes memory back that came from `take`. */
  give(buffer: Uint8Array): void {
    const { length } = buffer;
    this.release(length);
    const alike = this.#bySize.get(length) ?? [];
    // The size that was given back last is the last to be dropped.
    this.#bySize.delete(length);
    this.#bySize.set(length, alike);
    alike.push(buffer);
    this.#kept += length;
  }

  /** Counts memory as in use that is taken elsewhere. */
  reserve(bytes: number): void {
    this.#used += bytes;
    for (const [size, buffers] of this.#bySize) {
      while (this.#used + this.#kept > this.budget && buffers.length > 0) {
        free(buffers.pop()!);
        this.#kept -= size;
      }
      if (buffers.length === 0) this.#bySize.delete(size);
      if (this.#used + this.#kept <= this.budget) return;
    }
  }

  release(bytes: number): void {
    this.#used -= bytes;
  }
}

/** Gives memory back at once where the runtime can (not in Node 20): until it is collected it would go beyond the budget. */
function free({ buffer }: Uint8Array): void {
  (buffer as ArrayBuffer & { transfer?: (length: number) => ArrayBuffer }).transfer?.(0);
}
