import { MAX_GLOBAL_LENGTH } from "../limits.ts";
import { argumentEnd } from "../pickle/extent.ts";
import { decodeLatin1 } from "../pickle/text.ts";
import { opcodeTable } from "./opcode-table.ts";

/** What an opcode takes from the stack, and leaves there at most. A mark counts as a value. */
type Effect = readonly [takes: number, leaves: number];

/**
 * The opcodes that can be carried out before a pickle names anything. There is nothing to call then, no persistent id
 * that means something, and no extension or outer buffer unless a program has registered or given it.
 */
const EFFECTS: readonly (Effect | undefined)[] = opcodeTable<Effect | undefined>(undefined, [
  [[0, 0], "PROTO FRAME"],
  [[0, 1], "MARK NONE NEWTRUE NEWFALSE EMPTY_TUPLE EMPTY_LIST EMPTY_DICT EMPTY_SET"],
  [[0, 1], "INT LONG FLOAT BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT"],
  [[0, 1], "STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"],
  [[0, 1], "UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 GET BINGET LONG_BINGET"],
  // Python's own reader, unlike that in C, looks the name of INST up before it looks for a mark.
  [[0, 1], "GLOBAL INST"],
  [[1, 0], "POP POP_MARK"],
  [[1, 1], "READONLY_BUFFER PUT BINPUT LONG_BINPUT MEMOIZE TUPLE1 TUPLE LIST DICT FROZENSET"],
  [[1, 2], "DUP"],
  [[2, 1], "TUPLE2 APPEND APPENDS SETITEMS ADDITEMS BUILD STACK_GLOBAL"],
  [[3, 1], "TUPLE3 SETITEM"],
]);

/** What must have come before some opcodes: a mark, something memorized, a text. */
const MARKED = 1;
const MEMORIZED = 2;
const TEXT = 4;

const NEEDS: readonly (number | undefined)[] = opcodeTable(0, [
  [MARKED, "POP_MARK TUPLE LIST DICT FROZENSET APPENDS SETITEMS ADDITEMS"],
  [MEMORIZED, "GET BINGET LONG_BINGET"],
  [TEXT, "STACK_GLOBAL"],
]);

const BRINGS: readonly (number | undefined)[] = opcodeTable(0, [
  [MARKED, "MARK"],
  [MEMORIZED, "PUT BINPUT LONG_BINPUT MEMOIZE"],
  [TEXT, "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8"],
]);

/** Bytes that are looked at first of a line. */
const SHORT_LINE = 16;

/** How the lines of an opcode go, as far as they are there. Names of other characters cannot be imported. */
const LINES: readonly (RegExp | undefined)[] = opcodeTable<RegExp | undefined>(undefined, [
  [/^(?:$|[\w.\x80-\xff-]+(?:$|\n(?:$|[\w.\x80-\xff-]+(?:$|\n))))/, "GLOBAL INST"],
  // The reader in C takes what stands before a NUL.
  [/^[\w.+\- \t\r\v\f]*(?:$|[\n\0])/, "INT LONG FLOAT GET PUT"],
  [/^(?:$|['"])/, "STRING"],
]);

const GLOBAL = 0x63;
const INST = 0x69;
const STACK_GLOBAL = 0x93;
const PROTO = 0x80;
const FRAME = 0x95;
const HIGHEST_PROTOCOL = 5;

/** No data goes on beyond this. */
const MAX_FRAME_END = 2 ** 48;

/**
 * What is known of data: as a pickle it can do nothing; it names something; or its opcodes do not fit their frame, which
 * the reader in C takes for other opcodes.
 */
export type PickleStartKind = "harmless" | "names" | "misframed";

/** Whether a pickle that does something can begin with an opcode: it needs nothing of what stands before. */
export function mayBegin(code: number): boolean {
  return EFFECTS[code]?.[0] === 0 && NEEDS[code] === 0;
}

/**
 * Tells data from pickles by what stands at the start of it, for data that no loader takes for a pickle unless it is told
 * to. It follows Python's readers up to the first name, with an upper bound on their stack: what fails before, or ends,
 * can do nothing. Random bytes mostly fail at once.
 */
export class PickleStart {
  readonly #size: number;
  #at = 0;
  #values = 0;
  #brought = 0;
  #frameEnd = 0;

  /** @param size bytes of the data */
  constructor(size: number) {
    this.#size = size;
  }

  /** Goes on with the bytes from `offset` on, up to the end of the data or not: what it is, or from where it needs more. */
  read(bytes: Uint8Array, offset: number): PickleStartKind | number {
    const isRest = offset + bytes.length >= this.#size;
    for (;;) {
      const place = this.#at - offset;
      if (place >= bytes.length) return this.#at < this.#size ? this.#at : "harmless";
      const code = bytes[place]!;
      if (!this.#mayFollow(code)) return "harmless";
      const end = argumentEnd(bytes, place + 1, code);
      // An argument of a fixed size has its end beyond the bytes.
      const isCut = end === undefined || (end > bytes.length && (code === PROTO || code === FRAME));
      const isFramed = this.#at < this.#frameEnd;
      if (isFramed && !isCut && (code === FRAME || offset + end > this.#frameEnd))
        return this.#frameEnd > MAX_FRAME_END ? "harmless" : "misframed";
      if (!(isFramed && isCut) && !fitsLines(code, bytes, place + 1, end)) return "harmless";
      // Python's own reader takes the last line for one without its last character, and INST calls what it names.
      if (isCut && isRest) return code === INST ? "names" : "harmless";
      if (isCut) return this.#at;
      if (code === GLOBAL || code === INST || code === STACK_GLOBAL) return "names";
      if (code === PROTO && bytes[end - 1]! > HIGHEST_PROTOCOL) return "harmless";
      if (code === FRAME) this.#frameEnd = this.#endOfFrame(offset + end, length64(bytes, place + 1));
      const [takes, leaves] = EFFECTS[code]!;
      this.#values += leaves - takes;
      this.#brought |= BRINGS[code]!;
      this.#at = offset + end;
    }
  }

  /** At a frame that is larger than the data the reader in C fails, and Python's own takes the rest for the frame. */
  #endOfFrame(start: number, length: number): number {
    return start + length > Math.min(this.#size, MAX_FRAME_END) ? Number.POSITIVE_INFINITY : start + length;
  }

  #mayFollow(code: number): boolean {
    const effect = EFFECTS[code];
    if (effect === undefined || this.#values < effect[0]) return false;
    return (NEEDS[code]! & ~this.#brought) === 0;
  }
}

function length64(bytes: Uint8Array, at: number): number {
  return Number(new DataView(bytes.buffer, bytes.byteOffset + at, 8).getBigUint64(0, true));
}

function fitsLines(code: number, bytes: Uint8Array, start: number, end = Number.POSITIVE_INFINITY): boolean {
  const pattern = LINES[code];
  if (pattern === undefined) return true;
  const fits = (length: number) =>
    pattern.test(decodeLatin1(bytes.subarray(start, Math.min(end, start + length))));
  // The first bytes tell of most data, and are all of most lines.
  return fits(SHORT_LINE) && (end - start <= SHORT_LINE || fits(MAX_GLOBAL_LENGTH));
}
