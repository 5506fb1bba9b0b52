import { MAX_PICKLE_VALUES } from "../limits.ts";
import { ObjectNode, PyDict, PyList, PySet } from "./containers.ts";
import type { PickleReader } from "./reader.ts";
import type { PickleValue } from "./values.ts";

/** APPEND, APPENDS: on a list, or noted on an unknown object. */
export function appendTo(target: PickleValue, items: readonly PickleValue[], reader: PickleReader): void {
  const list = target instanceof ObjectNode ? target.list : target;
  if (!(list instanceof PyList)) throw reader.error("the target is not a list");
  if (list.items.length + items.length > MAX_PICKLE_VALUES) {
    throw reader.limit("MAX_PICKLE_VALUES", "too long a list");
  }
  for (const item of items) list.items.push(item);
}

/** SETITEM, SETITEMS, DICT: keys and values in turn, on a dict, or noted on an unknown object. */
export function setItems(target: PickleValue, items: readonly PickleValue[], reader: PickleReader): void {
  const dict = target instanceof ObjectNode ? target.dict : target;
  if (!(dict instanceof PyDict)) throw reader.error("the target is not a dict");
  if (items.length % 2 !== 0) throw reader.error("a key has no value");
  reader.countObjects(items.length / 2);
  for (let index = 0; index < items.length; index += 2) dict.set(items[index]!, items[index + 1]!);
}

/** ADDITEMS, FROZENSET: on a set, or noted on an unknown object. */
export function addItems(target: PickleValue, items: readonly PickleValue[], reader: PickleReader): void {
  if (target instanceof ObjectNode) return appendTo(target, items, reader);
  if (!(target instanceof PySet)) throw reader.error("the target is not a set");
  reader.countObjects(items.length);
  for (const item of items) target.add(item);
}
