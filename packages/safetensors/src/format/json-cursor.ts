import { SafetensorsError } from "../errors.ts";
import { MAX_JSON_DEPTH } from "../limits.ts";
import { firstInvalidUtf8 } from "./utf8.ts";

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const latin1 = new TextDecoder("latin1");

/**
 * Walks over the bytes of a JSON text without building anything. JSON.parse cannot be used on headers: it hides
 * duplicate keys, rounds integers above 2^53 and takes `1e2` for an integer.
 *
 * Errors are `INVALID_JSON` for what is not JSON and `INVALID_HEADER` for JSON of another kind than asked for.
 */
export class JsonCursor {
  readonly bytes: Uint8Array;
  at = 0;
  /** Range of the last string, without its quotes, escapes as written. */
  stringStart = 0;
  stringEnd = 0;
  /** Whether the last string has escapes. */
  stringEscaped = false;
  /** Whether all strings so far are ASCII. */
  ascii = true;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** Skips white space and returns the byte there, or -1 at the end. */
  peek(): number {
    const { bytes } = this;
    for (let { at } = this; at < bytes.length; at++) {
      const byte = bytes[at]!;
      if (byte > SPACE || (byte !== SPACE && byte !== LF && byte !== CR && byte !== TAB)) {
        this.at = at;
        return byte;
      }
    }
    this.at = bytes.length;
    return -1;
  }

  /** Steps over `byte` if it comes next. */
  accept(byte: number): boolean {
    if (this.peek() !== byte) return false;
    this.at++;
    return true;
  }

  beginObject(what: string): void {
    if (!this.accept(OPEN_BRACE)) this.mismatch(`${what} to be an object`);
  }

  beginArray(what: string): void {
    if (!this.accept(OPEN_BRACKET)) this.mismatch(`${what} to be an array`);
  }

  /** In an object: steps to the next key, which becomes the last string, and over its colon; false at the end. */
  nextKey(first: boolean): boolean {
    if (this.accept(CLOSE_BRACE)) return false;
    if (!first && !this.accept(COMMA)) this.malformed("',' or '}'");
    if (this.peek() !== QUOTE) this.malformed("a key in double quotes");
    this.string();
    if (!this.accept(COLON)) this.malformed("':'");
    return true;
  }

  /** In an array: steps to the next item; false at the end. */
  nextItem(first: boolean): boolean {
    if (this.accept(CLOSE_BRACKET)) {
      return false;
    }
    if (!first && !this.accept(COMMA)) this.malformed("',' or ']'");
    return true;
  }

  /** Steps over a string and notes its range. */
  string(what = "a string"): void {
    if (!this.accept(QUOTE)) this.mismatch(what);
    const { bytes } = this;
    let { at } = this;
    let seen = 0;
    this.stringStart = at;
    this.stringEscaped = false;
    for (; at < bytes.length; at++) {
      const byte = bytes[at]!;
      if (byte === QUOTE) {
        this.stringEnd = at;
        this.at = at + 1;
        if (seen >= 0x80) this.ascii = false;
        return;
      }
      if (byte === BACKSLASH) {
        this.stringEscaped = true;
        at = this.#escape(at);
      } else if (byte < SPACE) {
        this.controlCharacter(at);
      }
      seen |= byte;
    }
    this.at = at;
    this.malformed("the end of a string");
  }

  /** Whether the last string is `text`, which is ASCII. */
  is(text: string): boolean {
    if (this.stringEscaped) return this.text() === text;
    if (this.stringEnd - this.stringStart !== text.length) return false;
    for (let i = 0; i < text.length; i++) {
      if (this.bytes[this.stringStart + i] !== text.charCodeAt(i)) return false;
    }
    return true;
  }

  /** The last string, decoded. */
  text(): string {
    return this.textOf(this.stringStart, this.stringEnd);
  }

  /** The string between two places inside quotes, decoded. */
  textOf(start: number, end: number): string {
    const bytes = this.bytes.subarray(start, end);
    let text: string;
    try {
      text = utf8.decode(bytes);
    } catch {
      this.checkUtf8();
      throw new Error("unreachable: the decoder and the check disagree on UTF-8");
    }
    // The cursor has checked every escape, so JSON.parse gives just what was written.
    return text.includes("\\") ? (JSON.parse(`"${text}"`) as string) : text;
  }

  /** Throws `INVALID_UTF8` unless the whole text is valid UTF-8. Outside strings the cursor takes only ASCII. */
  checkUtf8(): void {
    const at = this.ascii ? -1 : firstInvalidUtf8(this.bytes);
    if (at >= 0)
      throw new SafetensorsError("INVALID_UTF8", `byte ${at} of the JSON is not valid UTF-8`, { at });
  }

  /** A whole number from 0 to 2^64 - 1 in plain digits. Above 2^53 - 1 the result is the nearest double. */
  integer(what: string): number {
    const first = this.peek();
    const start = this.at;
    const { bytes } = this;
    let value = 0;
    let at = start;
    for (; at < bytes.length; at++) {
      const digit = bytes[at]! - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    const after = bytes[at];
    const plain = at > start && after !== 0x2e && after !== 0x65 && after !== 0x45;
    if (!plain || (first === ZERO && at > start + 1))
      this.mismatch(`${what} to be a whole number in plain digits`);
    if (value > Number.MAX_SAFE_INTEGER) {
      // Twenty digits hold every 64-bit number; longer ones are refused before BigInt, which is slow on them.
      const exact = at - start > 20 ? 2n ** 64n : BigInt(asciiText(bytes, start, at));
      if (exact >= 2n ** 64n) this.mismatch(`${what} to be below 2^64`);
      value = Number(exact);
    }
    this.at = at;
    return value;
  }

  /** Steps over `null` if it comes next. */
  acceptNull(): boolean {
    if (this.peek() !== 0x6e) return false;
    this.#word("null");
    return true;
  }

  /** Steps over any value, `depth` levels below the top. */
  skipValue(depth: number): void {
    const byte = this.peek();
    if (byte === QUOTE) return this.string();
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      if (depth >= MAX_JSON_DEPTH) this.malformed(`at most ${MAX_JSON_DEPTH} levels of nesting`);
      this.at++;
      if (byte === OPEN_BRACE) {
        for (let first = true; this.nextKey(first); first = false) this.skipValue(depth + 1);
      } else {
        for (let first = true; this.nextItem(first); first = false) this.skipValue(depth + 1);
      }
      return;
    }
    if (byte === MINUS || (byte >= ZERO && byte <= NINE)) return this.#number();
    if (byte === 0x74) return this.#word("true");
    if (byte === 0x66) return this.#word("false");
    if (byte === 0x6e) return this.#word("null");
    this.malformed("a value");
  }

  /** Throws `INVALID_JSON` for a control character inside a string. */
  controlCharacter(at: number): never {
    this.at = at;
    this.malformed("no control character in a string");
  }

  /** Throws `INVALID_JSON`. */
  malformed(expected: string): never {
    this.#fail("INVALID_JSON", expected);
  }

  /** Throws `INVALID_HEADER`. */
  mismatch(expected: string): never {
    if (this.peek() === -1) this.malformed(expected);
    this.#fail("INVALID_HEADER", expected);
  }

  #fail(code: "INVALID_JSON" | "INVALID_HEADER", expected: string): never {
    const { at } = this;
    const byte = this.bytes[at];
    const found =
      byte === undefined
        ? "but it ends there"
        : byte > SPACE && byte < 0x7f
          ? `found '${String.fromCharCode(byte)}'`
          : `found byte 0x${byte.toString(16).padStart(2, "0")}`;
    throw new SafetensorsError(code, `expected ${expected} at byte ${at} of the JSON, ${found}`, { at });
  }

  /** Checks the escape that starts at `at`; returns the place of its last byte. */
  #escape(at: number): number {
    this.at = at;
    const kind = this.bytes[at + 1];
    if (kind !== 0x75) {
      // One of " \ / b f n r t
      if (kind === undefined || !'"\\/bfnrt'.includes(String.fromCharCode(kind)))
        this.malformed("a known escape");
      return at + 1;
    }
    const unit = this.#hexUnit(at);
    if (unit < 0xd800 || unit > 0xdfff) return at + 5;
    const low = unit < 0xdc00 && this.bytes[at + 6] === BACKSLASH ? this.#hexUnit(at + 6) : 0;
    if (low < 0xdc00 || low > 0xdfff) this.malformed("no lone surrogate");
    return at + 11;
  }

  /** Value of the `\uXXXX` escape at `at`. */
  #hexUnit(at: number): number {
    const digits =
      this.bytes[at + 1] === 0x75 ? asciiText(this.bytes, at + 2, Math.min(at + 6, this.bytes.length)) : "";
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.malformed("four hexadecimal digits after \\u");
    return Number.parseInt(digits, 16);
  }

  #number(): void {
    const start = this.at;
    const { bytes } = this;
    let at = start;
    while (at < bytes.length && isNumberByte(bytes[at]!)) at++;
    // JSON's grammar for numbers; what passes but exceeds a double is refused, as the reference does.
    const text = asciiText(bytes, start, at);
    if (!/^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/.test(text)) this.malformed("a number");
    if (!Number.isFinite(Number(text))) this.malformed("a number within the range of a double");
    this.at = at;
  }

  #word(word: string): void {
    if (asciiText(this.bytes, this.at, Math.min(this.at + word.length, this.bytes.length)) !== word)
      this.malformed(word);
    this.at += word.length;
  }
}

function isNumberByte(byte: number): boolean {
  return (
    (byte >= ZERO && byte <= NINE) ||
    byte === MINUS ||
    byte === 0x2b ||
    byte === 0x2e ||
    byte === 0x65 ||
    byte === 0x45
  );
}

function asciiText(bytes: Uint8Array, start: number, end: number): string {
  return latin1.decode(bytes.subarray(start, end));
}
