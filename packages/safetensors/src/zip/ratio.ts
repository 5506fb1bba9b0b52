import { quote, SafetensorsError } from "../errors.ts";
import { MAX_INFLATE_RATIO } from "../limits.ts";
import type { ZipEntry } from "./archive.ts";

/**
 * Refuses a member that unpacks to more than any honest data, before it is unpacked.
 *
 * @param allowance unpacked bytes that any member may have.
 * @throws `LIMIT_EXCEEDED` (`MAX_INFLATE_RATIO`)
 */
export function checkRatio(
  { name, method, size, compressedSize }: Pick<ZipEntry, "name" | "method" | "size" | "compressedSize">,
  allowance: number,
): void {
  if (method === 0 || size <= Math.max(compressedSize * MAX_INFLATE_RATIO, allowance)) return;
  const text = `${quote(name)} has ${compressedSize} bytes and would unpack to ${size}`;
  throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_INFLATE_RATIO" });
}
