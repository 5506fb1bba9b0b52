// biome-ignore-all lint/suspicious/noControlCharactersInRegex: Python takes these for space.
import { decodeLatin1 } from "./pickle/text.ts";

/** Bytes of a block of a tar archive: headers are one, data fills whole ones. */
export const TAR_BLOCK_BYTES = 512;

const CHECKSUM_AT = 148;
const CHECKSUM_BYTES = 8;

/** Place and length of the numbers besides the checksum: mode, owner, group, size, time, two of devices. */
const NUMBERS: readonly (readonly [at: number, length: number])[] = [
  [100, 8],
  [108, 8],
  [116, 8],
  [124, 12],
  [136, 12],
  [329, 8],
  [337, 8],
];

/**
 * Whether Python's tarfile takes a block for the header of a member of a tar archive: its checksum is right
 * (POSIX.1-1988, "ustar") and its other numbers are numbers. The bytes are added up as unsigned or, as some old programs
 * do, as signed ones. There need be no magic, which archives before POSIX do not have.
 */
export function isTarHeader(block: Uint8Array): boolean {
  if (block.length < TAR_BLOCK_BYTES) return false;
  const written = numberField(block, CHECKSUM_AT, CHECKSUM_BYTES);
  if (written === undefined) return false;
  let unsigned = CHECKSUM_BYTES * 0x20;
  let signed = unsigned;
  for (let at = 0; at < TAR_BLOCK_BYTES; at++) {
    if (at >= CHECKSUM_AT && at < CHECKSUM_AT + CHECKSUM_BYTES) continue;
    unsigned += block[at]!;
    signed += (block[at]! << 24) >> 24;
  }
  if (written !== unsigned && written !== signed) return false;
  return NUMBERS.every(([at, length]) => numberField(block, at, length) !== undefined);
}

/** What Python's `int(text, 8)` takes, with space around it; none at all is 0. */
const INTEGER = /^[\t-\r\x1c-\x20]*(?:([+-]?)(?:0[oO]_?)?([0-7]+(?:_[0-7]+)*)[\t-\r\x1c-\x20]*)?$/;

/** A number in all the ways in which Python's tarfile reads one: octal digits up to a NUL, or GNU's bytes. */
function numberField(block: Uint8Array, at: number, length: number): number | undefined {
  const bytes = block.subarray(at, at + length);
  if (bytes[0] === 0x80 || bytes[0] === 0xff)
    return bytes.subarray(1).reduce((value, byte) => value * 256 + byte, bytes[0] === 0x80 ? 0 : -1);
  const [text] = String.fromCharCode(...bytes).split("\0", 1);
  const [found, sign, digits = "0"] = INTEGER.exec(text!) ?? [];
  if (found === undefined) return undefined;
  const value = Number.parseInt(digits.replaceAll("_", ""), 8);
  return sign === "-" ? -value : value;
}

/** A number in octal digits, between spaces and up to a NUL. */
export function octal(block: Uint8Array, at: number, length: number): number | undefined {
  const text = String.fromCharCode(...block.subarray(at, at + length));
  const digits = /^ *([0-7]+) *(?:\0|$)/.exec(text)?.[1];
  return digits === undefined ? undefined : parseInt(digits, 8);
}

/**
 * The properties of a member, or of all, in their order (POSIX.1-2001, "pax"): lines of `length key=value`, whose length
 * counts itself. Nothing if they are anything else, which readers take in different ways.
 */
export function properties(
  bytes: Uint8Array,
): readonly (readonly [key: string, value: string])[] | undefined {
  const text = decodeLatin1(bytes);
  const found: [string, string][] = [];
  for (let at = 0; at < text.length; ) {
    const [head, length, key] = /^([1-9]\d{0,6}) ([^=\n]+)=/.exec(text.slice(at, at + 1024)) ?? [];
    if (head === undefined || key === undefined) return undefined;
    const next = at + Number(length);
    if (text[next - 1] !== "\n") return undefined;
    found.push([key, text.slice(at + head.length, next - 1)]);
    at = next;
  }
  return found;
}
