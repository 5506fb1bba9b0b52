/** Bytes of the arguments that have a fixed size, by opcode. */
const FIXED: Uint8Array = table([
  [1, [0x4b, 0x68, 0x71, 0x80, 0x82]], // BININT1, BINGET, BINPUT, PROTO, EXT1
  [2, [0x4d, 0x83]], // BININT2, EXT2
  [4, [0x4a, 0x6a, 0x72, 0x84]], // BININT, LONG_BINGET, LONG_BINPUT, EXT4
  [8, [0x47, 0x95]], // BINFLOAT, FRAME
]);

/** Bytes of the length that comes before an argument, by opcode. */
const COUNTED: Uint8Array = table([
  [1, [0x55, 0x43, 0x8c, 0x8a]], // SHORT_BINSTRING, SHORT_BINBYTES, SHORT_BINUNICODE, LONG1
  [4, [0x54, 0x42, 0x58, 0x8b]], // BINSTRING, BINBYTES, BINUNICODE, LONG4
  [8, [0x8d, 0x8e, 0x96]], // BINUNICODE8, BINBYTES8, BYTEARRAY8
]);

/** Opcodes whose argument is a line, or two. */
const LINES: Uint8Array = table([
  [1, [0x49, 0x4c, 0x46, 0x53, 0x56, 0x50, 0x67, 0x70]], // INT, LONG, FLOAT, STRING, UNICODE, PERSID, GET, PUT
  [2, [0x63, 0x69]], // GLOBAL, INST
]);

function table(rows: readonly (readonly [value: number, opcodes: readonly number[]])[]): Uint8Array {
  const values = new Uint8Array(256);
  for (const [value, opcodes] of rows) for (const opcode of opcodes) values[opcode] = value;
  return values;
}

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
  const width = COUNTED[opcode]!;
  if (width > 0) {
    if (start + width > bytes.length) return undefined;
    let length = 0;
    for (let index = width - 1; index >= 0; index--) length = length * 256 + bytes[start + index]!;
    return start + width + length;
  }
  let end = start + FIXED[opcode]!;
  for (let lines = LINES[opcode]!; lines > 0; lines--) {
    end = bytes.indexOf(0x0a, end) + 1;
    if (end === 0) return undefined;
  }
  return end;
}
