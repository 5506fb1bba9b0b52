import { MAX_GLOBAL_LENGTH } from "../limits.ts";
import { argumentEnd } from "../pickle/extent.ts";
import { OPCODE_NAMES } from "../pickle/opcodes.ts";
import { decodeLatin1, decodeUtf8, parseQuoted, parseRawUnicode } from "../pickle/text.ts";
import { OPCODES_AT_ONCE, type Steps, untilDone } from "../steps.ts";
import type { FindingCode } from "./finding.ts";
import { isPlainName } from "./judge-name.ts";
import { OPCODE_PROTOCOLS } from "./opcode-table.ts";

/** Why a sweep ended: at STOP, at a byte that is no opcode or has a malformed argument, or where the bytes end. */
export type SweepEnd = "stop" | "invalid" | "cut";

/** What a sweep reports. Offsets are those of the opcode. */
export interface SweepVisitor {
  /** Whether the sweep begins in the middle of a pickle. */
  readonly isLate?: boolean;
  /** A literal, by its place; `text` for text, which is UTF-8. */
  literal?(start: number, end: number, text: boolean): void;
  /** Something is taken from the memo. */
  recall?(index: number): void;
  /** A name. Of STACK_GLOBAL, those whose text is found by looking back; the others are the oddity `hidden`. */
  name?(module: string, name: string, at: number): void;
  /** Something is called, or its state is set. */
  call?(at: number): void;
  /** An opcode that is an oddity where it stands. */
  oddity?(oddity: Oddity, at: number): void;
}

/** An oddity that the opcodes alone show. */
export type Oddity = "protocol" | "newer" | "overwritten" | "extension" | "buffer" | "hidden";

/** Oddities as findings. */
export const ODDITIES: Readonly<Record<Oddity, readonly [code: FindingCode, message: string]>> = {
  protocol: ["odd-protocol", "announces its protocol twice, late, or one that is not known"],
  newer: ["newer-opcode", "uses an opcode that is newer than its protocol"],
  overwritten: ["memo-overwritten", "overwrites what it has memorized"],
  extension: ["extension-code", "asks for a registered extension, which can stand for any name"],
  buffer: ["outside-buffer", "wants a buffer from outside the file"],
  hidden: ["hidden-name", "asks for a name that cannot be followed"],
};

export const STACK_GLOBAL: number = 0x93;
export const INST: number = 0x69;

/** Where and why a sweep ended. */
export interface SweepResult {
  readonly end: number;
  readonly why: SweepEnd;
}

/** Where bytes lie. */
export interface BytesPlace {
  readonly at: number;
  readonly length: number;
}

/**
 * Goes from opcode to opcode without a stack, as a disassembler does: it sees what a stack machine does not, the
 * literals that are dropped again, and goes on where one stops. It knows names only by what stands before them.
 *
 * @param passed bytes between opcodes that are none, in their order.
 */
export function sweepPickle(
  bytes: Uint8Array,
  start: number,
  visitor: SweepVisitor = {},
  passed: readonly BytesPlace[] = [],
): Steps<SweepResult> {
  const sweep = new Sweep(bytes, start, visitor, passed);
  return untilDone(() => sweep.run());
}

class Sweep {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #visitor: SweepVisitor;
  readonly #start: number;
  readonly #passed: readonly BytesPlace[];
  /** The next opcode, and how many there were before. */
  #at: number;
  #count = 0;
  #nextPassed = 0;
  #protocol = 1;
  #said = new Set<Oddity>();
  /** Memo indices that count up need no set. */
  #memorized = 0;
  readonly #sparse = new Set<number>();
  /** The texts of the last two values, if they are text, and those of the memo: what STACK_GLOBAL may take. */
  #last: string | undefined;
  #before: string | undefined;
  readonly #texts = new Map<number, string>();

  constructor(bytes: Uint8Array, start: number, visitor: SweepVisitor, passed: readonly BytesPlace[]) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#visitor = visitor;
    this.#start = start;
    this.#at = start;
    this.#passed = passed;
  }

  /** Goes over the next opcodes; the result at the end. */
  run(): SweepResult | undefined {
    const bytes = this.#bytes;
    const pause = this.#count + OPCODES_AT_ONCE;
    let at = this.#at;
    for (let count = this.#count; at < bytes.length; count++) {
      if (count === pause) {
        this.#at = at;
        this.#count = count;
        return undefined;
      }
      const code = bytes[at]!;
      const protocol = OPCODE_PROTOCOLS[code];
      // STACK_GLOBAL as one of the first finds no two values: what begins with its byte is data.
      const isImpossible = code === STACK_GLOBAL && count < 2 && !this.#visitor.isLate;
      if (protocol === undefined || isImpossible) return { end: at, why: "invalid" };
      const next = argumentEnd(bytes, at + 1, code);
      if (next === undefined || next > bytes.length) {
        // Python's own reader takes the last line for one without its last character, and this calls what it names.
        if (code === INST && at > this.#start) this.#names(at, bytes.length);
        return { end: at, why: "cut" };
      }
      if (code >= 0x80 || protocol > this.#protocol) this.#check(code, at, protocol);
      this.#visit(code, at, next);
      at = next;
      for (; at === this.#passed[this.#nextPassed]?.at; this.#nextPassed++)
        at += this.#passed[this.#nextPassed]!.length;
      if (code === 0x2e) return { end: at, why: "stop" };
    }
    return { end: at, why: "cut" };
  }

  #lineEnd(at: number): number | undefined {
    const end = this.#bytes.indexOf(0x0a, at);
    return end < 0 ? undefined : end + 1;
  }

  #check(code: number, at: number, protocol: number): void {
    if (code === 0x80) {
      const version = this.#bytes[at + 1]!;
      if (at !== this.#start || version > 5) this.#say("protocol", at);
      this.#protocol = version;
    } else if (code >= 0x82 && code <= 0x84) {
      this.#say("extension", at);
    } else if (code === 0x97 || code === 0x98) {
      this.#say("buffer", at);
    } else if (protocol > this.#protocol) {
      this.#say("newer", at);
    }
  }

  /** Once is enough. */
  #say(oddity: Oddity, at: number): void {
    if (this.#said.has(oddity)) return;
    this.#said.add(oddity);
    this.#visitor.oddity?.(oddity, at);
  }

  #visit(code: number, at: number, next: number): void {
    switch (code) {
      case 0x42: // BINBYTES
      case 0x54: // BINSTRING
        return this.#literal(at + 5, next, false);
      case 0x43: // SHORT_BINBYTES
      case 0x55: // SHORT_BINSTRING
        return this.#literal(at + 2, next, false);
      case 0x8e: // BINBYTES8
      case 0x96: // BYTEARRAY8
        return this.#literal(at + 9, next, false);
      case 0x8c: // SHORT_BINUNICODE
        return this.#literal(at + 2, next, true);
      case 0x58: // BINUNICODE
        return this.#literal(at + 5, next, true);
      case 0x8d: // BINUNICODE8
        return this.#literal(at + 9, next, true);
      case 0x56: // UNICODE
        return this.#literal(at + 1, next - 1, true, parseRawUnicode);
      case 0x53: // STRING
        return this.#literal(at + 2, next - 2, false, unquoted);
      case 0x71: // BINPUT
        return this.#memorize(this.#bytes[at + 1]!, at);
      case 0x72: // LONG_BINPUT
        return this.#memorize(this.#view.getUint32(at + 1, true), at);
      case 0x70: // PUT
        return this.#memorize(this.#indexLine(at, next), at);
      case 0x94: // MEMOIZE
        return this.#memorize(this.#memorized + this.#sparse.size, at);
      case 0x68: // BINGET
        return this.#recall(this.#bytes[at + 1]!);
      case 0x6a: // LONG_BINGET
        return this.#recall(this.#view.getUint32(at + 1, true));
      case 0x67: // GET
        return this.#recall(this.#indexLine(at, next));
      case 0x63: // GLOBAL
      case 0x69: // INST
        return this.#names(at, next);
      case 0x93: // STACK_GLOBAL
        if (this.#visitor.name) {
          if (this.#before !== undefined && this.#last !== undefined)
            this.#visitor.name(this.#before, this.#last, at);
          else this.#say("hidden", at);
        }
        return this.#push(undefined);
      case 0x52: // REDUCE
      case 0x6f: // OBJ
      case 0x81: // NEWOBJ
      case 0x92: // NEWOBJ_EX
      case 0x62: // BUILD
        return this.#visitor.call?.(at);
      default:
    }
  }

  /** @param parse how text is written, if not as it is. */
  #literal(start: number, end: number, text: boolean, parse?: (written: string) => string | undefined): void {
    const last = Math.max(start, end);
    this.#visitor.literal?.(start, last, text);
    // Names are short; other texts are none.
    if (this.#visitor.name === undefined || last - start > 256) return this.#push(undefined);
    const bytes = this.#bytes;
    this.#push(parse ? parse(decodeLatin1(bytes.subarray(start, last))) : decodeUtf8(bytes, start, last));
  }

  /** The index of GET or PUT; what has more digits is none. */
  #indexLine(at: number, next: number): number {
    return Number(decodeLatin1(this.#bytes.subarray(at + 1, Math.min(next - 1, at + 30))));
  }

  #recall(index: number): void {
    this.#visitor.recall?.(index);
    this.#push(this.#texts.get(index));
  }

  #push(text: string | undefined): void {
    this.#before = this.#last;
    this.#last = text;
  }

  #memorize(index: number, at: number): void {
    if (index === this.#memorized && this.#sparse.size === 0) this.#memorized++;
    else if (index < this.#memorized || this.#sparse.has(index)) this.#say("overwritten", at);
    else if (this.#sparse.size < 1 << 20) this.#sparse.add(index);
    if (this.#last !== undefined && this.#texts.size < 1 << 20) this.#texts.set(index, this.#last);
  }

  #names(at: number, next: number): void {
    const middle = this.#visitor.name && this.#lineEnd(at + 1);
    this.#push(undefined);
    if (middle === undefined) return;
    const module = decodeUtf8(this.#bytes, at + 1, middle - 1);
    const name = decodeUtf8(this.#bytes, middle, next - 1);
    if (module === undefined || name === undefined) return;
    if (next - at <= MAX_GLOBAL_LENGTH) this.#visitor.name?.(module, name, at);
    else if (isPlainName(`${module}.${name}`)) this.#say("hidden", at);
  }
}

/** What Python 3 makes of the text between the quotes of STRING, its last line cut or not. */
function unquoted(written: string): string | undefined {
  const bytes = parseQuoted(`'${written}'`);
  return bytes && decodeUtf8(bytes, 0, bytes.length);
}

/** An opcode for a finding: its name, and the start of what it acts on. */
export function opcodeText(bytes: Uint8Array, at: number): string | undefined {
  const code = bytes[at];
  return code === undefined
    ? undefined
    : (OPCODE_NAMES.get(code) ?? `0x${code.toString(16).padStart(2, "0")}`);
}
