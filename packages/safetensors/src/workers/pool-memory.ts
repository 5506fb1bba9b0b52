import { SafetensorsError } from "../errors.ts";
import { Arena } from "../kernels/arena.ts";
import { CAST_ROOM } from "../kernels/cast.ts";
import { type KernelMemory, PAGE, type SharedRange, sharedKernelMemory } from "../kernels/memory.ts";
import { countForCollector } from "./memory.ts";
import type { SentBytes } from "./messages.ts";

/** Most bytes of a memory of WebAssembly, less a page: an array up to the last byte would have no address where it ends. */
const MOST_BYTES = 2 ** 32 - PAGE;

/**
 * Memory that the kernels of all workers work in: behind the page of their constants, which all write alike, a range for each
 * worker, then what is lent.
 */
export class PoolMemory {
  readonly #memory: KernelMemory;
  readonly #lent: Uint8Array;
  readonly #arena: Arena;

  constructor(memory: KernelMemory, workers: number, size: number) {
    this.#memory = memory;
    this.#lent = new Uint8Array(memory.buffer, PAGE + workers * CAST_ROOM, size);
    this.#arena = new Arena(size);
  }

  /**
   * Memory with so many bytes to lend; nothing if that is none or the system has no such memory.
   *
   * @throws `OUT_OF_RANGE` for an amount of memory that there cannot be
   */
  static of(size: number, workers: number): PoolMemory | undefined {
    const most = MOST_BYTES - PAGE - workers * CAST_ROOM;
    if (!(Number.isInteger(size) && size >= 0 && size <= most)) {
      const text = `a pool of ${workers} workers has 0 to ${most} bytes of memory set apart, not ${size}`;
      throw new SafetensorsError("OUT_OF_RANGE", text);
    }
    const rounded = Math.ceil(size / 64) * 64;
    const memory = size > 0 ? sharedKernelMemory(PAGE + workers * CAST_ROOM + rounded) : undefined;
    if (!memory) return undefined;
    countForCollector(size);
    return new PoolMemory(memory, workers, rounded);
  }

  /** What the kernels of a worker have to themselves. */
  rangeOf(worker: number): SharedRange {
    return { memory: this.#memory, start: PAGE + worker * CAST_ROOM, size: CAST_ROOM };
  }

  /** So many bytes that nobody has; nothing if there is no room. */
  allocate(bytes: number): Uint8Array | undefined {
    const at = this.#arena.lend(bytes);
    return at === undefined ? undefined : this.#lent.subarray(at, at + bytes);
  }

  release({ buffer, byteOffset }: Uint8Array): void {
    if (buffer === this.#lent.buffer) this.#arena.takeBack(byteOffset - this.#lent.byteOffset);
  }

  /** Bytes as they are sent to workers. */
  send(bytes: Uint8Array): SentBytes {
    if (bytes.buffer !== this.#lent.buffer) return bytes;
    return { at: bytes.byteOffset, length: bytes.length };
  }
}
