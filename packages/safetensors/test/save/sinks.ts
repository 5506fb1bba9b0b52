import assert from "node:assert/strict";
import type { Sink } from "../../src/save/sink.ts";
import { concat } from "../support.ts";

/** What a sink was asked to do, for tests. */
export interface RecordedSink extends Sink {
  /** Lengths of the pieces in order. */
  readonly pieces: number[];
  /** `commit` and `abort`, in the order of their calls. */
  readonly ends: string[];
  bytes(): Uint8Array;
}

/**
 * A sink that records, and checks that it is used as agreed.
 *
 * @param slow answers later, and spoils whoever does not wait for it
 * @param failAt fails once so many bytes have come
 */
export function recordedSink(slow: boolean = false, failAt: number = Number.POSITIVE_INFINITY): RecordedSink {
  const parts: Uint8Array[] = [];
  const pieces: number[] = [];
  const ends: string[] = [];
  let length = 0;
  let busy = false;
  const take = (bytes: Uint8Array): void => {
    assert.deepEqual(ends, [], "bytes after the end");
    length += bytes.length;
    if (length > failAt) throw new Error("the disk is full");
    pieces.push(bytes.length);
    parts.push(bytes.slice());
  };
  return {
    pieces,
    ends,
    write(bytes) {
      assert.ok(!busy, "a piece before the last one was taken");
      if (!slow) return take(bytes);
      busy = true;
      return new Promise<void>((resolve, reject) => {
        setImmediate(() => {
          busy = false;
          try {
            take(bytes);
            resolve();
          } catch (error) {
            reject(error);
          }
        });
      });
    },
    async commit() {
      ends.push("commit");
    },
    async abort() {
      ends.push("abort");
    },
    bytes: () => concat(parts),
  };
}
