import { SafetensorsError } from "../errors.ts";
import { MAX_LITERAL_DEPTH } from "../limits.ts";

/** A value of a header: a tuple is an array, a list is marked, a dict is a Map. */
export type PythonLiteral =
  | string
  | number
  | boolean
  | readonly PythonLiteral[]
  | PythonList
  | ReadonlyMap<string, PythonLiteral>;

/** A Python list. */
export interface PythonList {
  readonly list: readonly PythonLiteral[];
}

/**
 * Reads the one literal that a text is: strings, whole numbers, `True`, `False`, tuples, lists, and dicts with strings as
 * keys, as Python's `repr` writes them. Nothing is evaluated.
 *
 * @param longs whether whole numbers may end in `L`, as Python 2 wrote some of them.
 * @throws `INVALID_HEADER`, `DUPLICATE_KEY`, `UNSAFE_INTEGER`, `LIMIT_EXCEEDED`, each with the place in the text
 */
export function parseLiteral(text: string, { longs = false }: { longs?: boolean } = {}): PythonLiteral {
  const parser = new LiteralParser(text, longs);
  const value = parser.value(0);
  parser.end();
  return value;
}

/** What may follow a backslash, and what it stands for. */
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ["\\", "\\"],
  ["'", "'"],
  ['"', '"'],
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
]);

class LiteralParser {
  readonly #text: string;
  readonly #longs: boolean;
  #at = 0;

  constructor(text: string, longs: boolean) {
    this.#text = text;
    this.#longs = longs;
  }

  value(depth: number): PythonLiteral {
    if (depth > MAX_LITERAL_DEPTH) {
      throw new SafetensorsError("LIMIT_EXCEEDED", "the header's literal is nested too deeply", {
        limit: "MAX_LITERAL_DEPTH",
        at: this.#at,
      });
    }
    this.#skipSpace();
    switch (this.#text[this.#at]) {
      case "{":
        return this.#dict(depth);
      case "(":
        return this.#tuple(depth);
      case "[":
        return { list: this.#items("]", depth) };
      case "'":
      case '"':
        return this.#string();
      default:
        return this.#word();
    }
  }

  end(): void {
    this.#skipSpace();
    if (this.#at < this.#text.length) throw this.#error("has something after its end");
  }

  #dict(depth: number): ReadonlyMap<string, PythonLiteral> {
    const dict = new Map<string, PythonLiteral>();
    this.#at++;
    while (!this.#take("}")) {
      const at = this.#at;
      const key = this.value(depth + 1);
      if (typeof key !== "string") throw this.#error("has a key that is no string", at);
      if (dict.has(key)) throw this.#error(`has the key ${JSON.stringify(key)} twice`, at, "DUPLICATE_KEY");
      if (!this.#take(":")) throw this.#error("lacks a colon");
      dict.set(key, this.value(depth + 1));
      if (!this.#take(",") && this.#peek() !== "}") throw this.#error("lacks a comma or the end of a dict");
    }
    return dict;
  }

  #tuple(depth: number): readonly PythonLiteral[] {
    const items = this.#items(")", depth);
    let last = this.#at - 2;
    while (/\s/.test(this.#text[last]!)) last--;
    if (items.length === 1 && this.#text[last] !== ",") throw this.#error("has parentheses around no tuple");
    return items;
  }

  /** The items up to a closing bracket; a comma may follow the last one. */
  #items(close: string, depth: number): PythonLiteral[] {
    const items: PythonLiteral[] = [];
    this.#at++;
    while (!this.#take(close)) {
      items.push(this.value(depth + 1));
      if (!this.#take(",") && this.#peek() !== close) throw this.#error(`lacks a comma or "${close}"`);
    }
    return items;
  }

  #string(): string {
    const quoteMark = this.#text[this.#at]!;
    let value = "";
    for (this.#at++; ; this.#at++) {
      const character = this.#text[this.#at];
      if (character === undefined || character === "\n") throw this.#error("has a string without an end");
      if (character === quoteMark) break;
      value += character === "\\" ? this.#escaped() : character;
    }
    this.#at++;
    return value;
  }

  /** The character that an escape stands for; ends on the escape's last character. */
  #escaped(): string {
    const [code, digits] =
      /^(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))/
        .exec(this.#text.slice(this.#at + 1, this.#at + 10))
        ?.filter((group) => group !== undefined) ?? [];
    if (code !== undefined) {
      const point = Number.parseInt(digits!, 16);
      if (point > 0x10ffff) throw this.#error("has a character beyond Unicode");
      this.#at += code.length;
      return String.fromCodePoint(point);
    }
    const simple = ESCAPES.get(this.#text[this.#at + 1] ?? "");
    if (simple === undefined) throw this.#error("has an unknown escape in a string");
    this.#at++;
    return simple;
  }

  #word(): number | boolean {
    const at = this.#at;
    const word = /[0-9A-Za-z_]*/y;
    word.lastIndex = at;
    const found = word.exec(this.#text)![0];
    this.#at += found.length;
    if (found === "True" || found === "False") return found === "True";
    const digits = this.#longs ? found.replace(/L$/, "") : found;
    if (!/^(?:0|[1-9][0-9]*)$/.test(digits)) throw this.#error("has a value of an unknown kind", at);
    const value = Number(digits);
    if (!Number.isSafeInteger(value)) throw this.#error("has a number above 2^53 - 1", at, "UNSAFE_INTEGER");
    return value;
  }

  #peek(): string | undefined {
    this.#skipSpace();
    return this.#text[this.#at];
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at++;
    return true;
  }

  #skipSpace(): void {
    while (/^[ \t\n\r\f]$/.test(this.#text[this.#at] ?? "")) this.#at++;
  }

  #error(
    reason: string,
    at: number = this.#at,
    code: "INVALID_HEADER" | "DUPLICATE_KEY" | "UNSAFE_INTEGER" = "INVALID_HEADER",
  ): SafetensorsError {
    return new SafetensorsError(code, `the header ${reason} (character ${at} of its text)`, { at });
  }
}
