import { moduleParts } from "./objects.ts";
import { ObjectNode, PyDict, PyList, PySet, PyTuple } from "./pickle/containers.ts";
import { PickleNode, type PickleValue } from "./pickle/values.ts";
import { StorageNode } from "./storage.ts";
import { isTensor } from "./tensor-of.ts";
import { children, isContainer } from "./walk.ts";

/** The values that a value consists of. */
type Parts = (value: PickleValue) => Iterable<PickleValue>;

/** What is in containers. Of a module the dicts are given, which many modules may share. */
export function containedParts(value: PickleValue): Iterable<PickleValue> {
  const module = value instanceof ObjectNode ? moduleParts(value) : undefined;
  if (module) return [module.parameters, module.buffers, module.modules];
  return isContainer(value) ? Array.from(children(value), (child) => child.value) : [];
}

/** What is in any value: also in sets, and what an unknown object was made from. */
export function allParts(value: PickleValue): Iterable<PickleValue> {
  if (value instanceof PySet) return value.items();
  if (value instanceof PyList || value instanceof PyTuple) return value.items;
  if (value instanceof PyDict) return Array.from(value.entries(), ([, item]) => item);
  if (!(value instanceof ObjectNode)) return [];
  const { callable, args, kwargs, states, list, dict } = value;
  return [callable, args, kwargs ?? null, ...states, list, dict];
}

/** Whether a tensor, or a storage, which one can be made from, can be reached from a value; see `reaches`. */
export function reachesTensor(value: PickleValue, parts: Parts, barren: Set<PickleNode>): boolean {
  return reaches(value, (next) => isTensor(next) || next instanceof StorageNode, parts, barren);
}

/**
 * Whether something can be reached from a value. The nodes of a search that finds none are added to `barren`, so that
 * many searches together visit them once.
 */
export function reaches(
  value: PickleValue,
  isWanted: (value: PickleValue) => boolean,
  parts: Parts,
  barren: Set<PickleNode>,
): boolean {
  const seen = new Set<PickleNode>();
  const waiting: PickleValue[] = [value];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (isWanted(next)) return true;
    if (!(next instanceof PickleNode) || seen.has(next) || barren.has(next)) continue;
    seen.add(next);
    for (const part of parts(next)) if (part instanceof PickleNode) waiting.push(part);
  }
  for (const node of seen) barren.add(node);
  return false;
}
