import { PyDict, PyTuple } from "../pickle/containers.ts";
import { PickleNode, type PickleValue } from "../pickle/values.ts";
import { textOf } from "../python-bytes.ts";
import type { PlainData } from "./plain-data.ts";

/** The names that a state sets, and their values. */
export type Attributes = ReadonlyMap<string, PickleValue>;

/**
 * What the state of an object sets, `attributes` or `(attributes, slots)`; nothing if that cannot be told: Python makes one
 * of whatever has items, and text of many objects. Python sets slots by `setattr`, which can change the class of an object.
 */
export function stateAttributes(state: PickleValue | undefined, data: PlainData): Attributes | undefined {
  const [attributes, slots] = partsOf(state ?? null);
  const found = new Map<string, PickleValue>();
  return addTo(found, attributes, data) && addTo(found, slots, data, isPythons) ? found : undefined;
}

/** The state as its parts: what Python takes for attributes, and for slots. */
export function partsOf(state: PickleValue): readonly PickleValue[] {
  return state instanceof PyTuple && state.items.length === 2 ? state.items : [state];
}

/** Whether a name is one of Python's own, as `__class__` and `__setstate__` are. */
export function isPythons(name: string): boolean {
  return name.startsWith("__");
}

function addTo(
  found: Map<string, PickleValue>,
  part: PickleValue | undefined,
  data: PlainData,
  isOdd = (_: string) => false,
): boolean {
  if (!(part instanceof PickleNode)) return true;
  // Many objects may share one state.
  if (!(part instanceof PyDict && data.spend(part.size))) return false;
  for (const [key, value] of part.entries()) {
    const name = textOf(key);
    if (name === undefined && key instanceof PickleNode) return false;
    // What is text to Python 3 alone is there twice, in an order which is not Python's.
    if (name !== undefined && (found.has(name) || isOdd(name))) return false;
    if (name !== undefined) found.set(name, value);
  }
  return true;
}
