/** What V8 lets ordinary memory grow by before it looks for what is no longer used. Too large to come from a heap. */
const COLLECTED_BYTES = 64 << 20;

let uncounted = 0;

/**
 * Makes the garbage collector run for shared memory as for ordinary memory. V8 does not count shared memory, so that it
 * piles up though nobody uses it any more; this gives it something else to count, which is never touched.
 */
export function countForCollector(bytes: number): void {
  uncounted += bytes;
  if (uncounted < COLLECTED_BYTES) return;
  uncounted = 0;
  new ArrayBuffer(COLLECTED_BYTES);
}

/** Memory from the budget of a call. */
export interface TakenMemory {
  readonly memory: SharedArrayBuffer;
  /** Whether no worker has seen it before. */
  readonly isNew: boolean;
}

/**
 * The shared memory of a call, counted against its budget. Memory that is given back serves again: the first touch of
 * fresh memory costs several times the copy into it.
 */
export class SharedMemory {
  readonly #budget: number;
  /** Bytes in use, those reserved included. */
  #used = 0;
  /** Memory that has been given back, the oldest first. */
  readonly #spare: SharedArrayBuffer[] = [];
  #spareBytes = 0;

  constructor(budget: number) {
    this.#budget = budget;
  }

  /** Memory of at least `size` bytes, with `beside` more bytes counted; nothing if there is no room. */
  take(size: number, beside: number): TakenMemory | undefined {
    const room = this.#budget - this.#used - beside;
    if (size > room) return undefined;
    const most = Math.min(2 * size, room);
    const at = this.#spare.findIndex(({ byteLength }) => byteLength >= size && byteLength <= most);
    const memory = at < 0 ? sharedMemory(size) : this.#spare.splice(at, 1)[0]!;
    if (at >= 0) this.#spareBytes -= memory.byteLength;
    this.#used += memory.byteLength + beside;
    this.#trim();
    return { memory, isNew: at < 0 };
  }

  /** Memory that nobody looks at any more. */
  give(memory: SharedArrayBuffer): void {
    this.release(memory.byteLength);
    this.#spare.push(memory);
    this.#spareBytes += memory.byteLength;
  }

  /** Bytes that count no longer: those beside, or memory that now is the caller's. */
  release(bytes: number): void {
    this.#used -= bytes;
  }

  #trim(): void {
    while (this.#used + this.#spareBytes > this.#budget) this.#spareBytes -= this.#spare.shift()!.byteLength;
  }
}

/** New shared memory, which the garbage collector learns of. */
export function sharedMemory(bytes: number): SharedArrayBuffer {
  countForCollector(bytes);
  return new SharedArrayBuffer(bytes);
}
