import { MAX_KEY_DEPTH, MAX_KEY_TEXT, MAX_NAME_LENGTH } from "../limits.ts";
import { PickleFault } from "./fault.ts";
import { PickleNode, type PickleValue } from "./values.ts";

/**
 * The form of a value under which a Map finds what Python's dict finds: the same for equal values, another one for
 * all others. Small numbers and text stand for themselves; other numbers, tuples and bytes become text that begins with NUL
 * and a letter, as no other form does; objects stand for themselves.
 */
export function dictKey(value: PickleValue, depth = 0): unknown {
  if (typeof value === "string") return textKey(value);
  if (typeof value === "boolean") return value ? 1 : 0;
  const form = value instanceof PickleNode ? value.keyForm(depth) : value;
  return typeof form === "number" || typeof form === "bigint" ? numberKey(form) : form;
}

/** Text that is a key. V8 tells longer ones apart by their length only where it looks them up. */
export function textKey(text: string): string {
  if (text.length > MAX_NAME_LENGTH)
    throw new PickleFault(`a key has ${text.length} characters, more than ${MAX_NAME_LENGTH}`);
  return text.charCodeAt(0) === 0 ? `\0s${text}` : text;
}

/**
 * Only small numbers stand for themselves: V8 looks others up by what follows from them alone, so that a file can hold any
 * number of them which take a search through all.
 */
function numberKey(number: number | bigint): number | string {
  if (typeof number === "number" && (number & 0xffff) === number) return number;
  return counted(typeof number === "number" ? `\0n${number}` : `\0i${number.toString(16)}`);
}

/** The forms of the items of a tuple or a frozen set, each as text that says where it ends. */
export function itemForms(items: Iterable<PickleValue>, depth: number): string[] {
  if (depth >= MAX_KEY_DEPTH) throw new PickleFault(`a key is nested deeper than ${MAX_KEY_DEPTH} tuples`);
  const forms: string[] = [];
  let length = 0;
  for (const item of items) {
    const form = counted(formText(dictKey(item, depth + 1)));
    forms.push(form);
    length += form.length;
    checkKeyLength(length);
  }
  return forms;
}

/** Throws unless a key of that many characters is allowed. */
export function checkKeyLength(length: number): void {
  if (length > MAX_KEY_TEXT) throw new PickleFault(`a key has more than ${MAX_KEY_TEXT} characters`);
}

let characters = 0;

/** Characters of all forms that were made, of any pickle: it is for the differences. */
export function charactersOfForms(): number {
  return characters;
}

/** Counts a form, or a part of one, that was made. */
export function counted(form: string): string {
  checkKeyLength(form.length);
  characters += form.length;
  return form;
}

function formText(form: unknown): string {
  if (typeof form === "string") return `s${form.length}:${form}`;
  if (typeof form === "object" && form !== null) return `o${identity(form)},`;
  return `${form},`;
}

const identities = new WeakMap<object, number>();
let identityCount = 0;

function identity(node: object): number {
  let id = identities.get(node);
  if (id === undefined) {
    id = ++identityCount;
    identities.set(node, id);
  }
  return id;
}
