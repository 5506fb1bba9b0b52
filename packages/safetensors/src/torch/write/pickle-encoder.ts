import { OPCODE_NAMES } from "../pickle/opcodes.ts";
import { ByteBuilder } from "./byte-builder.ts";

const utf8 = new TextEncoder();

const CODES: ReadonlyMap<string, number> = /* @__PURE__ */ new Map(
  Array.from(OPCODE_NAMES, ([code, name]) => [name, code]),
);

/** Entries of a dict that one SETITEMS takes in Python's pickler. */
const BATCH = 1000;

/** The opcodes that make a tuple of that many items. */
const SHORT_TUPLES = ["EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"] as const;

/**
 * Writes pickle protocol 2 as Python's own pickler does: the same choice of opcodes, and every text, tuple, global and
 * object put into the memo in order.
 */
export class PickleEncoder {
  readonly #out = new ByteBuilder(4096);
  readonly #texts = new Map<string, number>();
  readonly #globals = new Map<string, number>();
  #memoized = 0;

  /** The pickle: all that was written, with its end. */
  finish(): Uint8Array {
    this.op("STOP");
    return this.#out.bytes;
  }

  /** An opcode without arguments. */
  op(name: string): void {
    this.#out.uint8(CODES.get(name)!);
  }

  protocol(version: number): void {
    this.op("PROTO");
    this.#out.uint8(version);
  }

  /** Puts what was written last into the memo. */
  memoize(): void {
    this.#indexed("BINPUT", "LONG_BINPUT", this.#memoized++);
  }

  /** A text that is an object of its own in Python, even where another is equal to it. */
  text(text: string): void {
    const bytes = utf8.encode(text);
    this.op("BINUNICODE");
    this.#out.uint32(bytes.length);
    this.#out.append(bytes);
    this.memoize();
  }

  /** A text that is one object in Python each time it comes: from the second time on it is fetched from the memo. */
  sharedText(text: string): void {
    if (this.#fetched(this.#texts, text)) return;
    this.text(text);
  }

  /** A name to import, as module and name with a space between; always the same object. */
  global(path: string): void {
    if (this.#fetched(this.#globals, path)) return;
    this.op("GLOBAL");
    this.#out.text(`${path.replace(" ", "\n")}\n`);
    this.memoize();
  }

  /** A whole number from 0 to 2^53 - 1. */
  int(value: number): void {
    if (value <= 0xff) {
      this.op("BININT1");
      this.#out.uint8(value);
    } else if (value <= 0xffff) {
      this.op("BININT2");
      this.#out.uint16(value);
    } else if (value <= 0x7fffffff) {
      this.op("BININT");
      this.#out.uint32(value);
    } else {
      // The fewest bytes whose highest bit, the sign, is zero.
      let length = 4;
      while (value >= 2 ** (8 * length - 1)) length++;
      this.op("LONG1");
      this.#out.uint8(length);
      for (let byte = 0; byte < length; byte++) this.#out.uint8(Math.floor(value / 256 ** byte) % 256);
    }
  }

  /** A tuple of whole numbers; the empty tuple is no object of its own. */
  ints(values: readonly number[]): void {
    const short = SHORT_TUPLES[values.length];
    if (short === undefined) this.op("MARK");
    for (const value of values) this.int(value);
    this.op(short ?? "TUPLE");
    if (values.length > 0) this.memoize();
  }

  /** A dict, whose entries are each a key and a value that `entry` writes. */
  dict<T>(entries: readonly T[], entry: (entry: T) => void): void {
    this.op("EMPTY_DICT");
    this.memoize();
    if (entries.length === 1) {
      entry(entries[0]!);
      this.op("SETITEM");
      return;
    }
    // After a full batch Python's pickler begins another one, even if nothing is left for it.
    for (let at = 0; entries.length > 0 && at <= entries.length; at += BATCH) {
      this.op("MARK");
      const end = Math.min(at + BATCH, entries.length);
      for (let index = at; index < end; index++) entry(entries[index]!);
      this.op("SETITEMS");
    }
  }

  /** Fetches what has been written before; else notes where in the memo it is about to be put. */
  #fetched(places: Map<string, number>, key: string): boolean {
    const place = places.get(key);
    if (place === undefined) places.set(key, this.#memoized);
    else this.#indexed("BINGET", "LONG_BINGET", place);
    return place !== undefined;
  }

  #indexed(short: string, long: string, index: number): void {
    const isShort = index <= 0xff;
    this.op(isShort ? short : long);
    if (isShort) this.#out.uint8(index);
    else this.#out.uint32(index);
  }
}
