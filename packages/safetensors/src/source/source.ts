/** Options of a read. */
export interface ReadOptions {
  /** Ends the wait for this read. Reads of other callers go on. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Random access to bytes: the one thing the library asks of a file, a Blob, a server or a piece of memory.
 *
 * It is a structural type, so that users bring their own. Every read gives exactly the bytes asked for or throws:
 * `OUT_OF_RANGE` when the range is not inside the source, `SHORT_READ` when the bytes are no longer there.
 */
export interface ByteSource {
  /** Bytes in all. */
  readonly size: number;
  /** What reading costs, in seconds: of each read, and of each byte. Plans choose by it between few and many reads. */
  readonly cost?: { readonly operation: number; readonly byte: number } | undefined;
  /** What to call this source in messages: a path, a URL, "memory". */
  readonly name?: string | undefined;
  /** `length` bytes from `offset`, in memory that belongs to the caller (except for sources in memory, see `view`). */
  read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array>;
  /**
   * Fills `target` from `offset`. A source that can do it without waiting returns nothing, and then the bytes are there.
   * Optional: callers fall back on `read`.
   */
  readInto?(offset: number, target: Uint8Array, options?: ReadOptions): void | Promise<void>;
  /** The bytes where they lie, without a copy: for memory and mappings. Treat them as read-only. */
  view?(offset: number, length: number): Uint8Array;
  /** Releases what the source holds. */
  close?(): void | Promise<void>;
}
