import { SafetensorsError } from "../errors.ts";
import type { ByteSource } from "../source/source.ts";

/** The bytes of a source where they lie; nothing if it cannot show them. Throws `SHORT_READ` as `readExactly` does. */
export function viewExactly(source: ByteSource, offset: number, length: number): Uint8Array | undefined {
  const bytes = source.view?.(offset, length);
  if (!bytes || bytes.length === length) return bytes;
  const text = `${source.name ?? "the source"} gave ${bytes.length} bytes where ${length} were asked for`;
  throw new SafetensorsError("SHORT_READ", text, { at: offset });
}
