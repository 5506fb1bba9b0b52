import { SafetensorsError } from "../errors.ts";
import { BlockCache } from "./block-cache.ts";
import { CachedRead } from "./cached-read.ts";
import { checkOption } from "./option.ts";
import { checkRange } from "./range.ts";
import { readInto } from "./read-into.ts";
import type { ByteSource, ReadOptions } from "./source.ts";

/** Options of `cached`. */
export interface CacheOptions {
  /** Most bytes kept and being read together; 64 MiB unless said otherwise. */
  readonly budget?: number | undefined;
  /** Bytes that are read at least, from a multiple of this number on; 1 MiB unless said otherwise. */
  readonly block?: number | undefined;
  /**
   * Blocks that are read before anyone asks, when reads go forward; none unless said otherwise. At most half of the
   * budget is read ahead. For disks on a network.
   */
  readonly ahead?: number | undefined;
}

/**
 * The same source with a memory: whole blocks are read, and those used last are kept. Neighbouring blocks that are
 * missing come with one read, and later go together. Callers that want the same block at the same time share a read,
 * which ends early only when all of them have given up. Reads whose blocks do not fit in the budget go past the memory.
 *
 * What comes belongs to the caller; there are no views. A read of blocks that are there does not wait. Sources that do
 * not fill memory themselves (`readInto`) take some of their own meanwhile, which is not counted.
 *
 * @throws `OUT_OF_RANGE` for options that are not whole numbers, `CLOSED`, and what the source throws
 */
export function cached(source: ByteSource, options: CacheOptions = {}): ByteSource {
  return new CachedSource(source, options);
}

class CachedSource implements ByteSource {
  readonly size: number;
  readonly name: string | undefined;
  readonly cost: ByteSource["cost"];
  readonly #source: ByteSource;
  readonly #cache: BlockCache;
  readonly #block: number;
  readonly #ahead: number;
  /** Where the last read ended. */
  #lastEnd = Number.NaN;
  #closed = false;

  constructor(source: ByteSource, { budget = 64 << 20, block = 1 << 20, ahead = 0 }: CacheOptions) {
    checkOption("budget", budget, 0);
    checkOption("block", block, 1);
    checkOption("ahead", ahead, 0);
    this.size = source.size;
    this.name = source.name;
    this.cost = source.cost;
    this.#source = source;
    this.#cache = new BlockCache(source, block, budget);
    this.#block = block;
    this.#ahead = Math.min(ahead, Math.floor(budget / block / 2));
  }

  async read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    checkRange(this, offset, length);
    const target = new Uint8Array(length);
    await this.readInto(offset, target, options);
    return target;
  }

  readInto(offset: number, target: Uint8Array, options?: ReadOptions): void | Promise<void> {
    checkRange(this, offset, target.length);
    if (this.#closed) throw this.#closedError();
    options?.signal?.throwIfAborted();
    if (target.length === 0) return;
    const end = offset + target.length;
    const firstBlock = Math.floor(offset / this.#block);
    const endBlock = Math.ceil(end / this.#block);
    const isForward = offset >= this.#lastEnd && firstBlock <= Math.ceil(this.#lastEnd / this.#block);
    this.#lastEnd = end;
    if (!this.#cache.canHold(firstBlock, endBlock)) return readInto(this.#source, offset, target, options);
    const read = new CachedRead(this.#cache, offset, target, firstBlock, endBlock);
    read.begin();
    if (isForward) this.#readAhead(endBlock);
    return read.finish(options?.signal);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cache.clear(this.#closedError());
    await this.#source.close?.();
  }

  /** Failures are no one's: whoever wants the block later reads it again. */
  #readAhead(firstBlock: number): void {
    const end = Math.min(firstBlock + this.#ahead, Math.ceil(this.size / this.#block));
    for (let block = firstBlock; block < end; ) {
      const extent = this.#cache.find(block) ?? this.#cache.loadAhead(block, end);
      if (!extent) return;
      block = extent.endBlock;
    }
  }

  #closedError(): SafetensorsError {
    return new SafetensorsError("CLOSED", `${this.name ?? "the source"} has been closed`);
  }
}
