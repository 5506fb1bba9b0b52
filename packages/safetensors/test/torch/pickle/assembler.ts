import { OPCODE_NAMES } from "../../../src/torch/pickle/opcodes.ts";
import { concat } from "../../support.ts";

const CODES = new Map(Array.from(OPCODE_NAMES, ([code, name]) => [name, code]));

/** An opcode by name, or raw bytes: text stands for its UTF-8. */
export type Part = string | Uint8Array | number;

/**
 * Puts a pickle together: names of opcodes become their byte; `'text` becomes the text, a number one byte.
 *
 *     assemble("EMPTY_LIST", "BININT1", 7, "APPEND", "STOP")
 */
export function assemble(...parts: readonly Part[]): Uint8Array<ArrayBuffer> {
  return concat(
    parts.map((part) => {
      if (typeof part === "number") return Uint8Array.of(part);
      if (typeof part !== "string") return part;
      if (part.startsWith("'")) return new TextEncoder().encode(part.slice(1));
      const code = CODES.get(part);
      if (code === undefined) throw new Error(`there is no opcode ${part}`);
      return Uint8Array.of(code);
    }),
  );
}

/** The same part many times, without spreading it over a call. */
export function repeat(count: number, ...parts: readonly Part[]): Uint8Array {
  const once = assemble(...parts);
  const all = new Uint8Array(count * once.length);
  for (let at = 0; at < all.length; at += once.length) all.set(once, at);
  return all;
}

/** A little-endian number of 1, 2, 4 or 8 bytes. */
export function uint(width: number, value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes.subarray(0, width);
}

/** A short text, as protocol 4 writes it. */
export function text(value: string): Uint8Array {
  const bytes = new TextEncoder().encode(value);
  return assemble("SHORT_BINUNICODE", bytes.length, bytes);
}

/** A name, as protocol 2 writes it. */
export function name(module: string, name: string): Uint8Array<ArrayBuffer> {
  return assemble("GLOBAL", `'${module}\n${name}\n`);
}
