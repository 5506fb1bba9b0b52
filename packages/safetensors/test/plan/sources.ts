import assert from "node:assert/strict";
import type { ByteSource, ReadOptions } from "../../src/source/source.ts";

/** The kinds of sources that users may bring. */
export const KINDS = ["view", "read", "readInto sync", "readInto async"] as const;
export type Kind = (typeof KINDS)[number];

/** A read as the source sees it. */
export interface SeenRead {
  readonly offset: number;
  readonly length: number;
  /** The caller's memory, from sources that fill it. */
  readonly target: Uint8Array | undefined;
}

/** A source for tests that keeps count of what is asked of it. */
export interface TestSource extends ByteSource {
  readonly bytes: Uint8Array;
  readonly seen: SeenRead[];
  /** Reads that wait. */
  pending: number;
  /** Called at the beginning of each read; may throw. */
  onRead: (read: SeenRead, number: number) => void;
  /** How long a read takes: turns of the event loop. */
  delay: (number: number) => number;
  /** Called when a read is about to fill memory; may throw. */
  onEnd: (read: SeenRead, number: number) => void;
}

export interface TestSourceOptions {
  readonly name?: string | undefined;
  readonly cost?: ByteSource["cost"];
  /** Whether a wait ends as soon as the signal says so. */
  readonly heedsSignal?: boolean;
}

/** A source of one kind that refuses every range that is not inside `bytes`. */
export function testSource(bytes: Uint8Array, kind: Kind, options: TestSourceOptions = {}): TestSource {
  const begin = (offset: number, length: number, target?: Uint8Array): [SeenRead, number] => {
    assert.ok(Number.isInteger(offset) && Number.isInteger(length), `${offset}, ${length}`);
    assert.ok(offset >= 0 && length > 0 && offset + length <= bytes.length, `${offset} + ${length}`);
    const read = { offset, length, target };
    const number = source.seen.push(read) - 1;
    source.onRead(read, number);
    return [read, number];
  };
  const found = ({ offset, length }: SeenRead): Uint8Array => bytes.subarray(offset, offset + length);
  const wait = async (read: SeenRead, number: number, signal: AbortSignal | undefined): Promise<void> => {
    source.pending++;
    try {
      for (let turn = source.delay(number); turn > 0; turn--) {
        await new Promise(setImmediate);
        if (options.heedsSignal !== false) signal?.throwIfAborted();
      }
      source.onEnd(read, number);
    } finally {
      source.pending--;
    }
  };
  const source: TestSource = {
    size: bytes.length,
    bytes,
    name: options.name,
    cost: options.cost,
    seen: [],
    pending: 0,
    onRead() {},
    onEnd() {},
    delay: () => 1,
    async read(offset: number, length: number, more?: ReadOptions) {
      more?.signal?.throwIfAborted();
      const [read, number] = begin(offset, length);
      await wait(read, number, more?.signal);
      return found(read).slice();
    },
    ...(kind === "view" && {
      view(offset, length) {
        const [read, number] = begin(offset, length);
        source.onEnd(read, number);
        return found(read);
      },
    }),
    ...(kind === "readInto sync" && {
      readInto(offset, target, more) {
        more?.signal?.throwIfAborted();
        const [read, number] = begin(offset, target.length, target);
        source.onEnd(read, number);
        target.set(found(read));
      },
    }),
    ...(kind === "readInto async" && {
      async readInto(offset, target, more) {
        more?.signal?.throwIfAborted();
        const [read, number] = begin(offset, target.length, target);
        // Whoever does not wait sees this.
        target.fill(0xee);
        await wait(read, number, more?.signal);
        target.set(found(read));
      },
    }),
  };
  return source;
}
