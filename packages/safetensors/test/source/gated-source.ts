import type { ByteSource, ReadOptions } from "../../src/source/source.ts";

/** A read that waits until a test lets it go. */
export interface GatedRead {
  readonly offset: number;
  readonly length: number;
  readonly signal: AbortSignal | undefined;
  /** The memory to fill. */
  readonly target: Uint8Array;
  isOpen: boolean;
  pass(): void;
  fail(error: unknown): void;
}

/** A source whose reads a test ends one by one; those of which the signal ends, end with its reason. */
export interface GatedSource extends ByteSource {
  readonly reads: GatedRead[];
  /** Ranges read so far, as `offset+length`. */
  readonly ranges: string[];
  isClosed: boolean;
}

export function gatedSource(
  bytes: Uint8Array,
  { heedsSignal = true }: { heedsSignal?: boolean } = {},
): GatedSource {
  const source: GatedSource = {
    size: bytes.length,
    name: "gated",
    reads: [],
    isClosed: false,
    get ranges() {
      return source.reads.map(({ offset, length }) => `${offset}+${length}`);
    },
    async read(offset: number, length: number, options?: ReadOptions) {
      const target = new Uint8Array(length);
      await source.readInto!(offset, target, options);
      return target;
    },
    readInto(offset: number, target: Uint8Array, { signal }: ReadOptions = {}) {
      return new Promise<void>((resolve, reject) => {
        const fail = (error: unknown): void => {
          read.isOpen = false;
          reject(error);
        };
        const pass = (): void => {
          if (read.isOpen) target.set(bytes.subarray(offset, offset + target.length));
          read.isOpen = false;
          resolve();
        };
        const read: GatedRead = { offset, length: target.length, signal, target, isOpen: true, pass, fail };
        if (heedsSignal) signal?.addEventListener("abort", () => fail(signal.reason));
        source.reads.push(read);
      });
    },
    close() {
      source.isClosed = true;
    },
  };
  return source;
}

/** Lets everything happen that waits for nothing but its turn. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
