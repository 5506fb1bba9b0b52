import { GlobalRef, PickleNode, type PickleValue, PyBytes, PyDict, PyFloat, PyList, PySet, PyTuple } from "./values.ts";

/** Nesting of tuples and frozen sets in a key, and characters of their text: keys beyond that are not honest. */
const MAX_KEY_DEPTH = 32;
const MAX_KEY_TEXT = 1024;

/** A value that cannot be a key: unhashable in Python, or too large a tuple. */
export class UnhashableError extends Error {}

/**
 * The form of a value under which a Map finds what a Python dict finds: equal for equal values, distinct otherwise.
 * Numbers and text stand for themselves, tuples and bytes become text (with a first character that other text has
 * not), objects are equal only to themselves.
 */
export function dictKey(value: PickleValue): unknown {
  if (typeof value === "string") return value.charCodeAt(0) === 0 ? `\0s${value}` : value;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (value instanceof PyFloat) return numberKey(value);
  if (value instanceof PyTuple || value instanceof PySet || value instanceof PyBytes) return compositeKey(value, 0);
  if (value instanceof PyList || value instanceof PyDict) throw new UnhashableError("a list or dict is not hashable");
  return value;
}
