/** Bytes of the arguments that have a fixed size, by opcode. */
const FIXED: ReadonlyMap<number, number> = new Map([
  [0x4a, 4], // BININT
  [0x4b, 1], // BININT1
  [0x4d, 2], // BININT2
  [0x47, 8], // BINFLOAT
  [0x68, 1], // BINGET
  [0x6a, 4], // LONG_BINGET
  [0x71, 1], // BINPUT
  [0x72, 4], // LONG_BINPUT
  [0x80, 1], // PROTO
  [0x95, 8], // FRAME
  [0x82, 1], // EXT1
  [0x83, 2], // EXT2
  [0x84, 4], // EXT4
]);

/** Bytes of the length that comes before an argument, by opcode. */
const COUNTED: ReadonlyMap<number, number> = new Map([
  [0x55, 1], // SHORT_BINSTRING
  [0x43, 1], // SHORT_BINBYTES
  [0x8c, 1], // SHORT_BINUNICODE
  [0x8a, 1], // LONG1
  [0x54, 4], // BINSTRING
  [0x42, 4], // BINBYTES
  [0x58, 4], // BINUNICODE
  [0x8b, 4], // LONG4
  [0x8d, 8], // BINUNICODE8
  [0x8e, 8], // BINBYTES8
  [0x96, 8], // BYTEARRAY8
]);

/** Opcodes whose argument is a line, or two. */
const LINES: ReadonlyMap<number, number> = new Map([
  ...[..."ILFSVPgp"].map((letter) => [letter.charCodeAt(0), 1] as const),
  ...[..."ci"].map((letter) => [letter.charCodeAt(0), 2] as const),
]);

const STOP = 0x2e;

/**
 * Finds where pickles end, from opcode to opcode, without carrying them out: a file may go on after them, and nothing
 * says where. It goes on with more bytes of the same file where it came to the end of fewer.
 */
export class PickleExtent {
  #at: number;

  constructor(start = 0) {
    this.#at = start;
  }

  /** The next byte that is needed. */
  get at(): number {
    return this.#at;
  }

  /** Goes on to the byte after STOP, if it is among `bytes`, the first ones of the file. */
  findEnd(bytes: Uint8Array): boolean {
    for (;;) {
      const opcode = bytes[this.#at];
      if (opcode === undefined) return false;
      const end = argumentEnd(bytes, this.#at + 1, opcode);
      if (end === undefined) return false;
      this.#at = end;
      if (opcode === STOP) return true;
    }
  }
}

/** The byte after an argument, which may lie beyond the bytes; nothing if they end before that is known. */
export function argumentEnd(bytes: Uint8Array, start: number, opcode: number): number | undefined {
  const width = COUNTED.get(opcode);
  if (width !== undefined) {
    if (start + width > bytes.length) return undefined;
    let length = 0;
    for (let index = width - 1; index >= 0; index--) length = length * 256 + bytes[start + index]!;
    return start + width + length;
  }
  let end = start + (FIXED.get(opcode) ?? 0);
  for (let lines = LINES.get(opcode) ?? 0; lines > 0; lines--) {
    end = bytes.indexOf(0x0a, end) + 1;
    if (end === 0) return undefined;
  }
  return end;
}
