import { MAX_PICKLE_VALUES } from "../limits.ts";
import { ObjectNode, PyDict, PyList, PySet } from "./containers.ts";
import { FORM_CHARACTER, GROWN_ARRAY, GROWN_VALUE, MAP, MAP_ENTRY } from "./costs.ts";
import { charactersOfForms } from "./keys.ts";
import type { PickleReader } from "./reader.ts";
import type { PickleValue } from "./values.ts";

/** APPEND, APPENDS: on a list, or noted on an unknown object. The items are the list's from here on. */
export function appendTo(target: PickleValue, items: PickleValue[], reader: PickleReader): void {
  const list = target instanceof ObjectNode ? target.list : target;
  if (!(list instanceof PyList)) throw reader.error("the target is not a list");
  if (list.items.length + items.length > MAX_PICKLE_VALUES) {
    throw reader.limit("MAX_PICKLE_VALUES", "too long a list");
  }
  if (list.items.length > 0) reader.countMemory(GROWN_ARRAY + GROWN_VALUE * items.length);
  list.append(items);
}

/** SETITEM, SETITEMS, DICT: keys and values in turn, on a dict, or noted on an unknown object. */
export function setItems(target: PickleValue, items: readonly PickleValue[], reader: PickleReader): void {
  const dict = target instanceof ObjectNode ? target.dict : target;
  if (!(dict instanceof PyDict)) throw reader.error("the target is not a dict");
  if (items.length % 2 !== 0) throw reader.error("a key has no value");
  reader.countMemory(MAP + MAP_ENTRY * (items.length / 2));
  for (let index = 0; index < items.length; index += 2) {
    const key = items[index]!;
    if (typeof key === "string") dict.set(key, items[index + 1]!);
    else countForms(reader, () => dict.set(key, items[index + 1]!));
  }
}

/** ADDITEMS: on a set that is not frozen, or noted on an unknown object. */
export function addItems(target: PickleValue, items: PickleValue[], reader: PickleReader): void {
  if (target instanceof ObjectNode) return appendTo(target, items, reader);
  if (!(target instanceof PySet) || target.frozen) throw reader.error("the target is not a set");
  fillSet(target, items, reader);
}

/** Puts items into a set, also a frozen one, for FROZENSET. */
export function fillSet(set: PySet, items: readonly PickleValue[], reader: PickleReader): void {
  reader.countMemory(MAP + MAP_ENTRY * items.length);
  for (const item of items) countForms(reader, () => set.add(item));
}

/** Counts the forms of keys that are made. */
function countForms(reader: PickleReader, make: () => void): void {
  const before = charactersOfForms();
  make();
  const made = charactersOfForms() - before;
  if (made > 0) reader.countMemory(MAP_ENTRY + FORM_CHARACTER * made);
}
