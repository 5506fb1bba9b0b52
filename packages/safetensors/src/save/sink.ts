/**
 * Where a writer's bytes go: they arrive in order, and nothing is kept until `commit`.
 *
 * A sink that can take bytes without waiting returns nothing from `write`; it must be done with them by then.
 */
export interface Sink {
  write(bytes: Uint8Array): void | Promise<void>;
  /** All bytes have been written: make them what the world sees. */
  commit(): Promise<void>;
  /** Something went wrong: leave no trace. Never throws. */
  abort(): Promise<void>;
}

/** A sink in memory. `bytes()` gives what was written, once it has been committed. */
export function memorySink(): Sink & { bytes(): Uint8Array } {
  let parts: Uint8Array[] = [];
  let whole: Uint8Array | undefined;
  return {
    write(bytes) {
      parts.push(new Uint8Array(bytes));
    },
    async commit() {
      whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
      let at = 0;
      for (const part of parts) {
        whole.set(part, at);
        at += part.length;
      }
      parts = [];
    },
    async abort() {
      parts = [];
    },
    bytes() {
      if (!whole) throw new Error("the sink has not been committed");
      return whole;
    },
  };
}
