import { MAX_KEY_DEPTH, MAX_KEY_TEXT } from "../limits.ts";
import { PickleFault } from "./fault.ts";
import { PickleNode, type PickleValue } from "./values.ts";

/**
 * The form of a value under which a Map finds what Python's dict finds: the same for equal values, another one for
 * all others. Numbers and text stand for themselves; tuples and bytes become text that begins with NUL and a letter,
 * as no other form does; objects stand for themselves.
 */
export function dictKey(value: PickleValue, depth = 0): unknown {
  if (typeof value === "string") return value.charCodeAt(0) === 0 ? `\0s${value}` : value;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (value instanceof PickleNode) return value.keyForm(depth);
  return value;
}

/** The forms of the items of a tuple or a frozen set, each as text that says where it ends. */
export function itemForms(items: Iterable<PickleValue>, depth: number): string[] {
  if (depth >= MAX_KEY_DEPTH) throw new PickleFault(`a key is nested deeper than ${MAX_KEY_DEPTH} tuples`);
  const forms: string[] = [];
  let length = 0;
  for (const item of items) {
    const form = formText(dictKey(item, depth + 1));
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

function formText(form: unknown): string {
  if (typeof form === "string") return `s${form.length}:${form}`;
  if (typeof form === "object" && form !== null) return `o${identity(form)},`;
  return `${typeof form === "bigint" ? "i" : ""}${form},`;
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
