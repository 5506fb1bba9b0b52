import { SafetensorsError } from "../errors.ts";
import type { ByteSource, ReadOptions } from "./source.ts";

/**
 * Reads, and makes sure that all bytes came: sources are brought by users, and bytes missing without a word would become
 * wrong weights.
 *
 * @throws `SHORT_READ`
 */
export async function readExactly(
  source: ByteSource,
  offset: number,
  length: number,
  options?: ReadOptions,
): Promise<Uint8Array> {
  const bytes = await source.read(offset, length, options);
  if (bytes.length === length) return bytes;
  const text = `${source.name ?? "the source"} gave ${bytes.length} bytes where ${length} were asked for`;
  throw new SafetensorsError("SHORT_READ", text, { at: offset });
}

/** Fills `target` from `offset` in the best way that the source offers; waits only if the source does. */
export function readInto(
  source: ByteSource,
  offset: number,
  target: Uint8Array,
  options?: ReadOptions,
): void | Promise<void> {
  if (source.readInto) return source.readInto(offset, target, options);
  return readExactly(source, offset, target.length, options).then((bytes) => target.set(bytes));
}
