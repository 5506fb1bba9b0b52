/**
 * Memory that is used again: the first touch of fresh memory costs several times the copy into it (page faults), so
 * buffers that have served are kept for the next reads.
 */
export class BufferPool {
  readonly #free: Uint8Array[] = [];
  #freeBytes = 0;
  readonly #mostFree: number;

  /** @param mostFree bytes that are kept at most while they are not in use. */
  constructor(mostFree: number) {
    this.#mostFree = mostFree;
  }

  /** A buffer of at least `length` bytes, with any content. */
  take(length: number): Uint8Array {
    const fit = this.#free.findIndex(
      (buffer) => buffer.length >= length && buffer.length <= 2 * length + 4096,
    );
    if (fit < 0) return new Uint8Array(length);
    const [buffer] = this.#free.splice(fit, 1);
    this.#freeBytes -= buffer!.length;
    return buffer!;
  }

  give(buffer: Uint8Array): void {
    this.#free.push(buffer);
    this.#freeBytes += buffer.length;
    while (this.#freeBytes > this.#mostFree) this.#freeBytes -= this.#free.shift()!.length;
  }
}
