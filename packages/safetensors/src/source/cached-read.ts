import type { BlockCache, Extent, Waiter } from "./block-cache.ts";

/** One read of a caller: what it wants of each extent goes into the caller's memory, as long as the caller waits. */
export class CachedRead implements Waiter {
  readonly #cache: BlockCache;
  readonly #offset: number;
  readonly #target: Uint8Array;
  readonly #firstBlock: number;
  readonly #endBlock: number;
  readonly #awaited = new Set<Extent>();
  #settle: (failure?: { readonly error: unknown }) => void = () => {};

  /** The blocks are those that hold the bytes from `offset` that fill `target`. */
  constructor(cache: BlockCache, offset: number, target: Uint8Array, firstBlock: number, endBlock: number) {
    this.#cache = cache;
    this.#offset = offset;
    this.#target = target;
    this.#firstBlock = firstBlock;
    this.#endBlock = endBlock;
  }

  /** Takes what is in memory, and asks for the rest. */
  begin(): void {
    this.#request(this.#firstBlock, this.#endBlock);
  }

  /** Waits for what was not in memory, if anything was not. To be called in the same turn as `begin`. */
  finish(callers: AbortSignal | undefined): void | Promise<void> {
    if (this.#awaited.size === 0) return;
    // Many reads may share a signal, and Node warns of more than ten listeners: so each read has one of its own.
    const signal = callers && AbortSignal.any([callers]);
    const abort = (): void => this.failed(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    return new Promise((resolve, reject) => {
      this.#settle = (failure) => {
        signal?.removeEventListener("abort", abort);
        if (failure) reject(failure.error);
        else resolve();
      };
    });
  }

  arrived(extent: Extent): void {
    this.#take(extent);
    this.#awaited.delete(extent);
    if (this.#awaited.size === 0) this.#settle();
  }

  missed(extent: Extent): void {
    this.#awaited.delete(extent);
    this.#request(Math.max(extent.firstBlock, this.#firstBlock), Math.min(extent.endBlock, this.#endBlock));
  }

  /** Nothing is written into the caller's memory any more. */
  failed(error: unknown): void {
    const given = [...this.#awaited];
    this.#awaited.clear();
    for (const extent of given) this.#cache.leave(extent, this, error);
    this.#settle({ error });
  }

  #request(firstBlock: number, endBlock: number): void {
    for (let block = firstBlock; block < endBlock; ) {
      const extent = this.#cache.find(block) ?? this.#cache.load(block, endBlock);
      if (extent.bytes) this.#take(extent);
      else {
        this.#awaited.add(extent);
        this.#cache.wait(extent, this);
      }
      block = extent.endBlock;
    }
    // Not before all that is in memory was taken: a read may push it out.
    this.#cache.start();
  }

  #take({ start, bytes }: Extent): void {
    const from = Math.max(this.#offset - start, 0);
    const to = Math.max(start - this.#offset, 0);
    const room = this.#target.length - to;
    this.#target.set(bytes!.subarray(from, from + room), to);
  }
}
