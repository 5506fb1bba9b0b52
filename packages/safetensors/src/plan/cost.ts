import type { ByteSource } from "../source/source.ts";

/** For sources that do not say: a read that waits for the event loop, ten gigabytes a second. */
const DEFAULT_COST = { operation: 20e-6, byte: 0.1e-9 };

/** Seconds to move a byte from one place in memory to another. */
const COPY_COST = 0.1e-9;

/** From this time for one operation on, in seconds, a source counts as remote. */
const REMOTE_OPERATION = 5e-3;

/** Bytes that can be read for the price of one more read: a gap of up to so many is read and thrown away. */
export function bridgeableGap({ cost = DEFAULT_COST, view }: ByteSource): number {
  // What is only shown costs nothing until it is used.
  if (view) return Number.POSITIVE_INFINITY;
  // Where both cost nothing it does not matter.
  return cost.operation / cost.byte || 0;
}

/** Bytes that can be copied for the price of one more read: only so many are read together with others and copied. */
export function copyableBytes({ cost = DEFAULT_COST, view }: ByteSource): number {
  // What is only shown has to be copied anyway.
  if (view) return Number.POSITIVE_INFINITY;
  return cost.operation / COPY_COST;
}

/** Whether reads of a source take so long that nobody knows how many should be in flight. */
export function isRemote({ cost = DEFAULT_COST }: ByteSource): boolean {
  return cost.operation >= REMOTE_OPERATION;
}
