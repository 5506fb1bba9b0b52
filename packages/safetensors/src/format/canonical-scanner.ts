import { DTYPE_INDEX } from "../dtype/dtype.ts";
import type { TensorTable } from "./tensor-table.ts";

const QUOTE = 0x22;
const COMMA = 0x2c;
const ZERO = 0x30;
const CLOSE_BRACKET = 0x5d;
const BACKSLASH = 0x5c;
const CLOSE_BRACE = 0x7d;

/** A fixed piece of text as 32-bit words to compare, the last one overlapping where the length asks for it. */
function wordsOf(text: string): readonly (readonly [at: number, word: number])[] {
  const view = new DataView(new TextEncoder().encode(text).buffer);
  const words: [number, number][] = [];
  for (let at = 0; at < text.length; at += 4) {
    const place = Math.min(at, text.length - 4);
    words.push([place, view.getInt32(place, true)]);
  }
  return words;
}

const BEFORE_DTYPE = '":{"dtype":"';
const BEFORE_SHAPE = '","shape":[';
const BEFORE_OFFSETS = '],"data_offsets":[';
const [[, D0], [, D1], [, D2]] = wordsOf(BEFORE_DTYPE) as [W, W, W];
const [[, S0], [, S1], [S2_AT, S2]] = wordsOf(BEFORE_SHAPE) as [W, W, W];
const [[, O0], [, O1], [, O2], [, O3], [O4_AT, O4]] = wordsOf(BEFORE_OFFSETS) as [W, W, W, W, W];
type W = readonly [at: number, word: number];

/** Longest text of digits that is read here: always below 2^53. */
const MOST_DIGITS = 15;

/**
 * Reads tensor entries in the exact form in which the reference and most others write them. Whatever deviates, be it
 * by a space, is left to the general way (`HeaderScanner`), which decides what is wrong with it, if anything.
 *
 * It exists for speed: five times as fast as the general way in a fresh process, where the code is still interpreted
 * and calls are what costs, and three times when warm (measured with 10,000 and 100,000 tensors).
 */
export class CanonicalScanner {
  readonly #table: TensorTable;
  readonly #bytes: Uint8Array;
  readonly #words: DataView;
  /** Place of the next backslash in the JSON. */
  #nextEscape = -1;
  #at = 0;
  // The dtype of the entry before: most entries have the same, and comparing its bytes is enough then.
  #dtype = 0;
  #dtypeStart = 0;
  #dtypeEnd = 0;

  constructor(table: TensorTable) {
    const { json } = table;
    this.#table = table;
    this.#bytes = json;
    this.#words = new DataView(json.buffer, json.byteOffset, json.byteLength);
  }

  /** Reads entries from `at` on, the first of them after a comma unless it is the `first` one; returns where it stopped. */
  scan(at: number, first: boolean): number {
    const bytes = this.#bytes;
    if (this.#nextEscape < at) {
      const found = bytes.indexOf(BACKSLASH, at);
      this.#nextEscape = found < 0 ? bytes.length : found;
    }
    let done = at;
    let keyAt = at;
    if (!first) {
      if (bytes[at] !== COMMA) return at;
      keyAt++;
    }
    while (this.#entry(keyAt)) {
      done = this.#at;
      if (bytes[done] !== COMMA) break;
      keyAt = done + 1;
    }
    return done;
  }

  /** Reads the entry whose key begins at `at` and leaves `#at` behind it; false if it deviates. */
  #entry(at: number): boolean {
    const bytes = this.#bytes;
    const words = this.#words;
    if (bytes[at] !== QUOTE) return false;
    const nameStart = at + 1;
    const nameEnd = bytes.indexOf(QUOTE, nameStart);
    // The rest of an entry has 60 bytes or more; from here on every fixed piece is inside the JSON.
    if (nameEnd < 0 || nameEnd > this.#nextEscape || nameEnd + BEFORE_DTYPE.length > bytes.length)
      return false;
    if (nameEnd - nameStart === 12 && bytes[nameStart] === 0x5f) return false;
    if (words.getInt32(nameEnd, true) !== D0 || words.getInt32(nameEnd + 4, true) !== D1) return false;
    if (words.getInt32(nameEnd + 8, true) !== D2) return false;

    const dtypeStart = nameEnd + BEFORE_DTYPE.length;
    const dtypeEnd = this.#dtypeAt(dtypeStart);
    if (dtypeEnd < 0 || dtypeEnd + BEFORE_SHAPE.length > bytes.length) return false;
    if (words.getInt32(dtypeEnd, true) !== S0 || words.getInt32(dtypeEnd + 4, true) !== S1) return false;
    if (words.getInt32(dtypeEnd + S2_AT, true) !== S2) return false;

    const shapeAt = dtypeEnd + BEFORE_SHAPE.length - 1;
    const elements = this.#shape(shapeAt + 1);
    const shapeEnd = this.#at;
    if (elements < 0 || shapeEnd + BEFORE_OFFSETS.length > bytes.length) return false;
    if (words.getInt32(shapeEnd, true) !== O0 || words.getInt32(shapeEnd + 4, true) !== O1) return false;
    if (words.getInt32(shapeEnd + 8, true) !== O2 || words.getInt32(shapeEnd + 12, true) !== O3) return false;
    if (words.getInt32(shapeEnd + O4_AT, true) !== O4) return false;

    const begin = this.#integer(shapeEnd + BEFORE_OFFSETS.length);
    if (begin < 0 || bytes[this.#at] !== COMMA) return false;
    const end = this.#integer(this.#at + 1);
    if (end < 0 || bytes[this.#at] !== CLOSE_BRACKET || bytes[this.#at + 1] !== CLOSE_BRACE) return false;
    this.#at += 2;
    this.#table.add(nameStart, nameEnd, this.#dtype, shapeAt, elements, begin, end);
    return true;
  }

  /** Finds the dtype that begins at `at`; returns where it ends, or -1. */
  #dtypeAt(at: number): number {
    const bytes = this.#bytes;
    let known = this.#dtypeStart;
    let end = at;
    while (known < this.#dtypeEnd && bytes[end] === bytes[known]) {
      end++;
      known++;
    }
    if (known === this.#dtypeEnd && known > this.#dtypeStart && bytes[end] === QUOTE) return end;
    let name = "";
    for (end = at; name.length < 16 && bytes[end] !== QUOTE; end++)
      name += String.fromCharCode(bytes[end] ?? 0);
    const dtype = DTYPE_INDEX.get(name);
    if (dtype === undefined) return -1;
    this.#dtype = dtype;
    this.#dtypeStart = at;
    this.#dtypeEnd = end;
    return end;
  }

  /** Number of elements of the shape whose first dimension begins at `at`; leaves `#at` on its end. -1 if it deviates. */
  #shape(at: number): number {
    this.#at = at;
    if (this.#bytes[at] === CLOSE_BRACKET) return 1;
    let elements = 1;
    for (let next = at; ; next = this.#at + 1) {
      const size = this.#integer(next);
      elements *= size;
      if (size < 0 || elements > Number.MAX_SAFE_INTEGER) return -1;
      if (this.#bytes[this.#at] !== COMMA) return elements;
    }
  }

  /** The digits at `at` as a number; leaves `#at` behind them. -1 if there are none, too many, or a leading zero. */
  #integer(at: number): number {
    const bytes = this.#bytes;
    let value = 0;
    let next = at;
    for (; next < bytes.length; next++) {
      const digit = bytes[next]! - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    this.#at = next;
    const digits = next - at;
    return digits === 0 || digits > MOST_DIGITS || (digits > 1 && bytes[at] === ZERO) ? -1 : value;
  }
}
