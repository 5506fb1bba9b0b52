import { moduleParts, subclassItems } from "./objects.ts";
import { ObjectNode, PyDict, PyList, PySet, PyTuple } from "./pickle/containers.ts";
import { PickleNode, type PickleValue } from "./pickle/values.ts";
import { StorageNode } from "./storage.ts";
import { Method } from "./tensor-functions.ts";
import { isTensor } from "./tensor-of.ts";

/** The values that a value consists of. */
type Parts = (value: PickleValue) => Iterable<PickleValue>;

/** What is in containers. Of a module the dicts are given, which many modules may share. */
export function containedParts(value: PickleValue): Iterable<PickleValue> {
  const module = value instanceof ObjectNode ? moduleParts(value) : undefined;
  if (module) return [module.parameters, module.buffers, module.modules];
  return itemsOf(value instanceof ObjectNode ? subclassItems(value) : value);
}

/** What is in a dict, a list or a tuple. */
function itemsOf(value: PickleValue | undefined): Iterable<PickleValue> {
  if (value instanceof PyList || value instanceof PyTuple) return value.items;
  return value instanceof PyDict ? Array.from(value.entries(), ([, item]) => item) : [];
}

/** What is in any value: also in sets, and what an unknown object was made from. */
export function allParts(value: PickleValue): Iterable<PickleValue> {
  if (value instanceof PySet) return value.items();
  if (value instanceof Method) return [value.owner];
  if (!(value instanceof ObjectNode)) return itemsOf(value);
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
  /** Its number, in the order of visits, and the lowest number of a node on the way that it leads back to. */
  readonly number: number;
  low: number;
}

/**
 * Whether something can be reached from a value. What a search finds out goes into `known`, so that many searches for the
 * same, from one level of a deep value to the next, together visit each node once. Nodes that lead to each other are
 * known together (Tarjan, "Depth-first search and linear graph algorithms", 1972).
 */
export function reaches(
  value: PickleValue,
  isWanted: (value: PickleValue) => boolean,
  parts: Parts,
  known: Known,
): boolean {
  const way: Step[] = [];
  /** Nodes of which nothing is known yet: those on the way, and those that lead back to it. */
  const open: PickleNode[] = [];
  const numbers = new Map<PickleNode, number>();
  const visit = (next: PickleValue): boolean => {
    if (isWanted(next)) return true;
    if (!(next instanceof PickleNode)) return false;
    const answer = known.get(next);
    if (answer !== undefined) return answer;
    const number = numbers.get(next);
    if (number === undefined) {
      way.push({ node: next, rest: parts(next)[Symbol.iterator](), number: numbers.size, low: numbers.size });
      numbers.set(next, numbers.size);
      open.push(next);
    } else leadBack(way.at(-1)!, number);
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
    if (step.low < step.number) leadBack(way.at(-1)!, step.low);
    else
      for (let node = open.pop(); node; node = node === step.node ? undefined : open.pop())
        known.set(node, false);
  }
  for (const node of open) known.set(node, true);
  return isFound;
}

function leadBack(step: Step, number: number): void {
  step.low = Math.min(step.low, number);
}
