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

/** What is known of values after searches: whether they lead to what was looked for. */
export type Known = Map<PickleNode, boolean>;

/** Whether a tensor, or a storage, which one can be made from, can be reached from a value; see `reaches`. */
export function reachesTensor(value: PickleValue, parts: Parts, known: Known): boolean {
  return reaches(value, (next) => isTensor(next) || next instanceof StorageNode, parts, known);
}

/** A node on the way of a search. */
interface Step {
  readonly node: PickleNode;
  readonly rest: Iterator<PickleValue>;
  /** Whether it leads to a node of which the search has not seen all, so that nothing is known of it yet. */
  isOpen: boolean;
}

/**
 * Whether something can be reached from a value. What a search finds out goes into `known`, so that many searches for the
 * same, from one level of a deep value to the next, together visit each node about once.
 */
export function reaches(
  value: PickleValue,
  isWanted: (value: PickleValue) => boolean,
  parts: Parts,
  known: Known,
): boolean {
  /** Nodes of this search of which nothing is known: on the way, or open. */
  const seen = new Set<PickleNode>();
  const way: Step[] = [];
  const visit = (next: PickleValue): boolean => {
    if (isWanted(next)) return true;
    if (!(next instanceof PickleNode)) return false;
    const answer = known.get(next);
    if (answer !== undefined) return answer;
    if (seen.has(next)) {
      way.at(-1)!.isOpen = true;
      return false;
    }
    seen.add(next);
    way.push({ node: next, rest: parts(next)[Symbol.iterator](), isOpen: false });
    return false;
  };
  let isFound = visit(value);
  for (let step = way.at(-1); step && !isFound; step = way.at(-1)) {
    const next = step.rest.next();
    if (!next.done) {
      isFound = visit(next.value);
      continue;
    }
    way.pop();
    if (!step.isOpen) known.set(step.node, false);
    else if (way.length > 0) way.at(-1)!.isOpen = true;
  }
  if (isFound) for (const { node } of way) known.set(node, true);
  else for (const node of seen) known.set(node, false);
  return isFound;
}
