import type { ByteSource, ReadOptions } from "./source.ts";

/** Fills `target` from `offset` in the best way that the source offers; waits only if the source does. */
export function readInto(
  source: ByteSource,
  offset: number,
  target: Uint8Array,
  options?: ReadOptions,
): void | Promise<void> {
  if (source.readInto) return source.readInto(offset, target, options);
  return source.read(offset, target.length, options).then((bytes) => target.set(bytes));
}
