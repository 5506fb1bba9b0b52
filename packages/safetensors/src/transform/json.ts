import { quote, type SafetensorsError } from "../errors.ts";
import { JsonCursor } from "../format/json-cursor.ts";
import { isJsonError } from "../format/json-error.ts";
import { invalidRecipe } from "./problem.ts";

const QUOTE = 0x22;
const MINUS = 0x2d;
const OPEN_BRACKET = 0x5b;
const OPEN_BRACE = 0x7b;
const [TRUE, FALSE] = [0x74, 0x66];

/** Levels of arrays and objects in each other: a recipe has six. */
const MAX_DEPTH = 8;

/** JSON as recipes have it: no fractions, no null, no key twice. */
export type Json = string | number | boolean | readonly Json[] | ReadonlyMap<string, Json>;

/** Reads JSON strictly: unlike JSON.parse it refuses what appears twice, and rounds nothing. */
export function parseStrictly(bytes: Uint8Array): Json {
  try {
    const cursor = new JsonCursor(bytes);
    const value = readValue(cursor, 0);
    if (cursor.peek() !== -1) cursor.malformed("nothing but white space after the recipe");
    cursor.checkUtf8();
    return value;
  } catch (error) {
    throw isJsonError(error) ? invalidRecipe("", error.reason) : error;
  }
}

function readValue(cursor: JsonCursor, depth: number): Json {
  if (depth > MAX_DEPTH) cursor.malformed(`at most ${MAX_DEPTH} levels of nesting`);
  const byte = cursor.peek();
  if (byte === QUOTE) {
    cursor.string();
    return cursor.text();
  }
  if (byte === OPEN_BRACKET) {
    const items: Json[] = [];
    cursor.beginArray("a list");
    for (let first = true; cursor.nextItem(first); first = false) items.push(readValue(cursor, depth + 1));
    return items;
  }
  if (byte === OPEN_BRACE) {
    const fields = new Map<string, Json>();
    cursor.beginObject("an object");
    for (let first = true; cursor.nextKey(first); first = false) {
      const key = cursor.text();
      if (fields.has(key))
        throw invalidRecipe("", `${quote(key)} appears twice (byte ${cursor.stringStart})`);
      fields.set(key, readValue(cursor, depth + 1));
    }
    return fields;
  }
  if (byte === TRUE || byte === FALSE) {
    cursor.skipValue(depth);
    return byte === TRUE;
  }
  const isNegative = cursor.accept(MINUS);
  const value = cursor.integer("a text, whole number, true, false, list or object");
  return isNegative ? -value : value;
}

/** A value of the recipe with its place in it, for errors. */
export class Field {
  readonly value: Json | undefined;
  readonly path: string;

  constructor(value: Json | undefined, path: string) {
    this.value = value;
    this.path = path;
  }

  get isThere(): boolean {
    return this.value !== undefined;
  }

  /** The fields of an object that may have these only. */
  fields(known: readonly string[]): (key: string) => Field {
    const { value, path } = this;
    if (!(value instanceof Map)) throw this.expected("an object");
    const prefix = path === "" ? "" : `${path}.`;
    for (const key of value.keys()) {
      if (!known.includes(key))
        throw invalidRecipe(`${prefix}${shownKey(key)}`, `is not known here; ${known.join(", ")} are`);
    }
    return (key) => new Field(value.get(key), `${prefix}${key}`);
  }

  /** The items of a list; an absent one is empty if `least` is 0. */
  list(least: number, most: number): Field[] {
    const { value = [], path } = this;
    if (!Array.isArray(value)) throw this.expected("a list");
    if (value.length < least || value.length > most) {
      throw invalidRecipe(path, `has ${value.length} items; ${least} to ${most} are allowed`);
    }
    return (value as Json[]).map((item, index) => new Field(item, `${path}[${index}]`));
  }

  text(most: number): string {
    const { value } = this;
    if (typeof value !== "string") throw this.expected("a text");
    if (value.length > most) throw invalidRecipe(this.path, `is longer than ${most} characters`);
    return value;
  }

  flag(): boolean {
    const { value = false } = this;
    if (typeof value !== "boolean") throw this.expected("true or false");
    return value;
  }

  integer(least: number, most: number): number {
    const { value } = this;
    if (typeof value !== "number" || value < least || value > most) {
      throw this.expected(`a whole number from ${least} to ${most}`);
    }
    return value;
  }

  oneOf<const T extends string>(choices: readonly T[]): T {
    const found = choices.find((choice) => choice === this.value);
    if (found === undefined) throw this.expected(`one of ${choices.join(", ")}`);
    return found;
  }

  expected(what: string): SafetensorsError {
    return invalidRecipe(
      this.path || "the recipe",
      `must be ${what}${this.isThere ? "" : ", but is missing"}`,
    );
  }
}

/** A key as part of a path; one that is no plain word is quoted. */
function shownKey(key: string): string {
  return /^\w{1,60}$/.test(key) ? key : quote(key);
}
