import { ObjectNode, PyDict, PyList, PySet, PyTuple } from "./pickle/containers.ts";
import { PickleNode, type PickleValue } from "./pickle/values.ts";
import { StorageNode } from "./storage.ts";
import { isTensor } from "./walk.ts";

/** The values that a value consists of. */
type Parts = (value: PickleValue) => Iterable<PickleValue>;

/** What is in lists, tuples and dicts. */
export function containedParts(value: PickleValue): Iterable<PickleValue> {
  if (value instanceof PyList || value instanceof PyTuple) return value.items;
  if (value instanceof PyDict) return Array.from(value.entries(), ([, item]) => item);
  return [];
}

/** What is in any value: also in sets, and what an unknown object was made from. */
export function allParts(value: PickleValue): Iterable<PickleValue> {
  if (value instanceof PySet) return value.items();
  if (!(value instanceof ObjectNode)) return containedParts(value);
  const { callable, args, kwargs, states, list, dict } = value;
  return [callable, args, kwargs ?? null, ...states, list, dict];
}

/**
 * Whether a tensor or a storage can be reached from a value. The nodes of a search that finds none are added to
 * `barren`, so that many searches together visit them once.
 */
export function reachesTensor(value: PickleValue, parts: Parts, barren: Set<PickleNode>): boolean {
  const seen = new Set<PickleNode>();
  const waiting: PickleValue[] = [value];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (isTensor(next) || next instanceof StorageNode) return true;
    if (!(next instanceof PickleNode) || seen.has(next) || barren.has(next)) continue;
    seen.add(next);
    for (const part of parts(next)) if (part instanceof PickleNode) waiting.push(part);
  }
  for (const node of seen) barren.add(node);
  return false;
}
