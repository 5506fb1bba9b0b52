import type { ByteSource } from "../source/source.ts";

/** For sources that do not say: a read that waits for the event loop, ten gigabytes a second. */
const DEFAULT_COST = { operation: 20e-6, byte: 0.1e-9 };

/** Bytes that can be read for the price of one more read: a gap of up to so many is read and thrown away. */
export function bridgeableGap({ cost = DEFAULT_COST }: ByteSource): number {
  return cost.operation / cost.byte;
}
