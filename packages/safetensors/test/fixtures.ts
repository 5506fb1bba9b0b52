import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Path of a file below test/fixtures, from the compiled test. */
export function fixturePath(name: string): string {
  return fileURLToPath(new URL(`../../test/fixtures/${name}`, import.meta.url));
}

/** Bytes of a file below test/fixtures. */
export function fixture(name: string): Uint8Array {
  return readFileSync(fixturePath(name));
}
