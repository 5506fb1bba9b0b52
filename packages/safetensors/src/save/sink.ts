import type { ReadOptions } from "../source/source.ts";

/** Bytes that lie in order, wherever they are. */
export interface ByteRange {
  readonly length: number;
  /** Fills `target` from `offset`; waits only if it has to. Every byte is to be read once, in whatever order. */
  read(offset: number, target: Uint8Array, options?: ReadOptions): void | Promise<void>;
}

/** Options of `Sink.copy`. */
export interface CopyOptions extends ReadOptions {
  /** Called after every piece with its number of bytes. */
  readonly onCopied: (bytes: number) => void;
}

/**
 * Where a writer's bytes go: they arrive in order, and nothing is kept until `commit`.
 *
 * A sink that can take bytes without waiting returns nothing from `write`; it must be done with them by then.
 */
export interface Sink {
  /**
   * Called before the first byte by writers that know how many will come in all. The signal is the one of the caller of
   * the writer, for sinks that may have to wait long; they throw its reason.
   */
  begin?(byteLength: number, options: ReadOptions): void;
  write(bytes: Uint8Array): void | Promise<void>;
  /**
   * Takes bytes as if they had been read, and written in order. For sinks that read one piece while they write another.
   */
  copy?(range: ByteRange, options: CopyOptions): Promise<void>;
  /** All bytes have been written: make them what the world sees. */
  commit(): Promise<void>;
  /** Something went wrong, as far as it is known what: leave no trace. Never throws. */
  abort(reason?: unknown): Promise<void>;
}

/** A sink in memory. `bytes()` gives what was written, once it has been committed. */
export function memorySink(): Sink & { bytes(): Uint8Array } {
  let memory = new Uint8Array(0);
  let length = 0;
  let whole: Uint8Array | undefined;
  return {
    begin(byteLength) {
      memory = new Uint8Array(byteLength);
    },
    write(bytes) {
      const end = length + bytes.length;
      if (end > memory.length) {
        const larger = new Uint8Array(Math.max(end, 2 * memory.length));
        larger.set(memory.subarray(0, length));
        memory = larger;
      }
      memory.set(bytes, length);
      length = end;
    },
    async commit() {
      whole = length === memory.length ? memory : memory.slice(0, length);
      memory = new Uint8Array(0);
    },
    async abort() {
      memory = new Uint8Array(0);
    },
    bytes() {
      if (!whole) throw new Error("the sink has not been committed");
      return whole;
    },
  };
}
