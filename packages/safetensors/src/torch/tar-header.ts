/** Bytes of a block of a tar archive: headers are one, data fills whole ones. */
export const TAR_BLOCK_BYTES = 512;

const CHECKSUM_AT = 148;
const CHECKSUM_BYTES = 8;

/**
 * Whether a block is the header of a member of a tar archive: its checksum is right (POSIX.1-1988, "ustar"). The bytes
 * are added up as unsigned or, as some old programs do, as signed ones.
 */
export function isTarHeader(block: Uint8Array): boolean {
  if (block.length < TAR_BLOCK_BYTES) return false;
  const written = octal(block, CHECKSUM_AT, CHECKSUM_BYTES);
  let unsigned = CHECKSUM_BYTES * 0x20;
  let signed = unsigned;
  for (let at = 0; at < TAR_BLOCK_BYTES; at++) {
    if (at >= CHECKSUM_AT && at < CHECKSUM_AT + CHECKSUM_BYTES) continue;
    unsigned += block[at]!;
    signed += (block[at]! << 24) >> 24;
  }
  return written !== undefined && (written === unsigned || written === signed);
}

/** A number in octal digits, between spaces and up to a NUL. */
export function octal(block: Uint8Array, at: number, length: number): number | undefined {
  const text = String.fromCharCode(...block.subarray(at, at + length));
  const digits = /^ *([0-7]+) *(?:\0|$)/.exec(text)?.[1];
  return digits === undefined ? undefined : parseInt(digits, 8);
}
