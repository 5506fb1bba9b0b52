import { readInto } from "./read-into.ts";
import type { ByteSource } from "./source.ts";

/** Neighbouring blocks that are read together, kept together, and dropped together. */
export interface Extent {
  readonly firstBlock: number;
  readonly endBlock: number;
  /** Where its bytes begin in the source, and how many they are: the last block may be short. */
  readonly start: number;
  readonly length: number;
  /** Whether it is read ahead: then it is read to its end, whoever waits for it. */
  readonly isAhead: boolean;
  /** There once it has been read. */
  bytes: Uint8Array | undefined;
}

/** Somebody who wants an extent that has not come yet. Told once, and not in the turn in which it began to wait. */
export interface Waiter {
  /** Must take what it wants at once: the memory may be given up right after. */
  arrived(extent: Extent): void;
  /** What was read ahead could not be read. It may be asked for again, for it may hold more than the waiter wants. */
  missed(extent: Extent): void;
  failed(error: unknown): void;
}

/** An extent on its way. */
interface Coming {
  readonly waiters: Set<Waiter>;
  readonly stop: AbortController;
}

/**
 * Blocks of a source in memory, those not used for longest dropped first. What is kept and what is being read never take
 * more than the budget together: reads wait in line until there is room.
 */
export class BlockCache {
  readonly #source: ByteSource;
  readonly #blockBytes: number;
  readonly #budget: number;
  /** By block, whether it is in memory or on its way. */
  readonly #extents = new Map<number, Extent>();
  /** In memory, the one not used for longest first. */
  readonly #kept = new Set<Extent>();
  readonly #coming = new Map<Extent, Coming>();
  /** Those on their way that wait for room, in order. */
  readonly #line = new Set<Extent>();
  #keptBytes = 0;
  /** Of reads under way, also of those that nobody wants any more: their memory is in use until they end. */
  #readingBytes = 0;

  constructor(source: ByteSource, blockBytes: number, budget: number) {
    this.#source = source;
    this.#blockBytes = blockBytes;
    this.#budget = budget;
  }

  /** The extent with a block, if it is in memory or on its way; counts as use. */
  find(block: number): Extent | undefined {
    const extent = this.#extents.get(block);
    if (extent && this.#kept.delete(extent)) this.#kept.add(extent);
    return extent;
  }

  /** Whether an extent can be read at all. */
  canHold(firstBlock: number, endBlock: number): boolean {
    return this.#range(firstBlock, endBlock).length <= this.#budget;
  }

  /**
   * Puts the missing blocks from `block` on in line, up to the first that is there, or to `endBlock`. `canHold` must be
   * true of them.
   */
  load(block: number, endBlock: number): Extent {
    return this.#enter(this.#gap(block, endBlock, false));
  }

  /** Begins to read the same blocks ahead, if there is room at once. */
  loadAhead(block: number, endBlock: number): Extent | undefined {
    const extent = this.#gap(block, endBlock, true);
    if (this.#line.size > 0 || this.#readingBytes + extent.length > this.#budget) return undefined;
    this.#enter(extent);
    this.start();
    return extent;
  }

  /** Begins the reads in line that there is room for. */
  start(): void {
    for (const extent of this.#line) {
      if (this.#readingBytes + extent.length > this.#budget) return;
      this.#line.delete(extent);
      this.#makeRoom(extent.length);
      this.#readingBytes += extent.length;
      void this.#read(extent);
    }
  }

  wait(extent: Extent, waiter: Waiter): void {
    this.#coming.get(extent)?.waiters.add(waiter);
  }

  /** The waiter gives up. A read that nobody waits for any more ends, unless it is ahead. */
  leave(extent: Extent, waiter: Waiter, reason: unknown): void {
    const coming = this.#coming.get(extent);
    if (!coming?.waiters.delete(waiter) || coming.waiters.size > 0 || extent.isAhead) return;
    this.#forget(extent);
    coming.stop.abort(reason);
    this.start();
  }

  /** Ends everything for this reason. Nothing may be loaded afterwards. */
  clear(reason: unknown): void {
    this.#line.clear();
    for (const [extent, { waiters, stop }] of this.#coming) {
      this.#forget(extent);
      for (const waiter of waiters) waiter.failed(reason);
      stop.abort(reason);
    }
    for (const extent of this.#kept) this.#drop(extent);
  }

  async #read(extent: Extent): Promise<void> {
    const { waiters, stop } = this.#coming.get(extent)!;
    // As a promise: waiters are not told in the turn in which they begin to wait, even if the source throws at once.
    const fill = async (): Promise<Uint8Array> => {
      const bytes = new Uint8Array(extent.length);
      await readInto(this.#source, extent.start, bytes, { signal: stop.signal });
      return bytes;
    };
    const read = await fill().then(
      (bytes) => ({ bytes }),
      (error: unknown) => ({ error }),
    );
    this.#readingBytes -= extent.length;
    if (this.#coming.has(extent)) {
      if ("bytes" in read) {
        this.#keep(extent, read.bytes);
        for (const waiter of waiters) waiter.arrived(extent);
      } else {
        this.#forget(extent);
        for (const waiter of waiters) extent.isAhead ? waiter.missed(extent) : waiter.failed(read.error);
      }
    }
    this.start();
  }

  #gap(firstBlock: number, limit: number, isAhead: boolean): Extent {
    let endBlock = firstBlock + 1;
    while (endBlock < limit && !this.#extents.has(endBlock)) endBlock++;
    return { firstBlock, endBlock, ...this.#range(firstBlock, endBlock), isAhead, bytes: undefined };
  }

  #enter(extent: Extent): Extent {
    for (let block = extent.firstBlock; block < extent.endBlock; block++) this.#extents.set(block, extent);
    this.#coming.set(extent, { waiters: new Set(), stop: new AbortController() });
    this.#line.add(extent);
    return extent;
  }

  #keep(extent: Extent, bytes: Uint8Array): void {
    extent.bytes = bytes;
    this.#coming.delete(extent);
    this.#kept.add(extent);
    this.#keptBytes += extent.length;
  }

  #makeRoom(bytes: number): void {
    for (const extent of this.#kept) {
      if (this.#keptBytes + this.#readingBytes + bytes <= this.#budget) return;
      this.#drop(extent);
    }
  }

  #drop(extent: Extent): void {
    this.#kept.delete(extent);
    this.#keptBytes -= extent.length;
    this.#forget(extent);
  }

  /** Whoever wants its blocks from now on begins a read anew. */
  #forget(extent: Extent): void {
    this.#coming.delete(extent);
    this.#line.delete(extent);
    for (let block = extent.firstBlock; block < extent.endBlock; block++) this.#extents.delete(block);
  }

  #range(firstBlock: number, endBlock: number): { start: number; length: number } {
    const start = firstBlock * this.#blockBytes;
    return { start, length: Math.min(endBlock * this.#blockBytes, this.#source.size) - start };
  }
}
