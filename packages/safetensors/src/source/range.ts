import { SafetensorsError } from "../errors.ts";
import type { ByteSource } from "./source.ts";

/** Throws `OUT_OF_RANGE` unless `offset` and `length` are whole numbers that lie inside the source. */
export function checkRange(source: ByteSource, offset: number, length: number): void {
  const inside =
    Number.isSafeInteger(offset) &&
    Number.isSafeInteger(length) &&
    offset >= 0 &&
    length >= 0 &&
    offset + length <= source.size;
  if (inside) return;
  throw new SafetensorsError(
    "OUT_OF_RANGE",
    `bytes ${offset} to ${offset + length} were asked for, ${source.name ?? "the source"} has ${source.size}`,
    { at: offset },
  );
}
