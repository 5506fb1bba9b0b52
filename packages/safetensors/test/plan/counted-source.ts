import assert from "node:assert/strict";
import type { ByteSource, ReadOptions } from "../../src/source/source.ts";

/** A source for tests that keeps count of what is asked of it. */
export interface CountedSource extends ByteSource {
  /** Ranges asked for, in order. */
  readonly ranges: (readonly [offset: number, length: number])[];
  /** Called before each read. */
  onRead?: () => void;
}

/** The kinds of sources that users may bring. */
export const KINDS = ["view", "read", "readInto sync", "readInto async"] as const;
export type Kind = (typeof KINDS)[number];

/** A source of one kind that refuses every range that is not inside `bytes`, and counts. */
export function countedSource(bytes: Uint8Array, kind: Kind): CountedSource {
  const ranges: [number, number][] = [];
  const piece = (offset: number, length: number, options?: ReadOptions): Uint8Array => {
    source.onRead?.();
    options?.signal?.throwIfAborted();
    assert.ok(Number.isInteger(offset) && Number.isInteger(length), `${offset}, ${length}`);
    assert.ok(
      offset >= 0 && length > 0 && offset + length <= bytes.length,
      `${offset} + ${length} of ${bytes.length}`,
    );
    ranges.push([offset, length]);
    return bytes.subarray(offset, offset + length);
  };
  const source: CountedSource = {
    size: bytes.length,
    ranges,
    async read(offset, length, options) {
      return piece(offset, length, options).slice();
    },
    ...(kind === "view" && { view: (offset, length) => piece(offset, length) }),
    ...(kind === "readInto sync" && {
      readInto: (offset, target, options) => target.set(piece(offset, target.length, options)),
    }),
    ...(kind === "readInto async" && {
      async readInto(offset, target, options) {
        const found = piece(offset, target.length, options);
        // Whoever does not wait sees this.
        target.fill(0xee);
        await new Promise(setImmediate);
        target.set(found);
      },
    }),
  };
  return source;
}
