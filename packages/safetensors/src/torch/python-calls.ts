import { MAX_KEY_TEXT } from "./limits.ts";
import { PyBytes, PyDict, PyList, PySet, PyTuple } from "./pickle/containers.ts";
import { charactersOfForms } from "./pickle/keys.ts";
import type { PickleValue } from "./pickle/values.ts";

/** Counts what calls copy, so that a short pickle cannot have a long value copied again and again. */
export interface CopyBudget {
  /** Throws when more was copied than the pickle has bytes: an honest one copies each value once. */
  spend(count: number): void;
}

type PythonCall = (args: readonly PickleValue[], budget: CopyBudget) => PickleValue | undefined;

/**
 * The functions of Python itself that checkpoints use to write containers and bytes. Arguments that are not the usual
 * ones give nothing: the call stays a node.
 */
export const PYTHON_CALLS: ReadonlyMap<string, PythonCall> = new Map<string, PythonCall>([
  ["collections.OrderedDict", (args, budget) => dictOf("OrderedDict", args, budget)],
  ["collections.Counter", (args, budget) => dictOf("Counter", args, budget)],
  // Its argument is what makes missing values.
  ["collections.defaultdict", () => new PyDict("defaultdict")],
  ["builtins.dict", (args, budget) => dictOf("dict", args, budget)],
  ["builtins.list", (args, budget) => copyOf(args, budget, (items) => new PyList(items))],
  ["builtins.tuple", (args, budget) => copyOf(args, budget, (items) => new PyTuple(items))],
  ["builtins.set", (args, budget) => copyOf(args, budget, (items) => setOf(items, false, budget))],
  ["builtins.frozenset", (args, budget) => copyOf(args, budget, (items) => setOf(items, true, budget))],
  ["builtins.bytes", (args) => (args.length === 0 ? new PyBytes(new Uint8Array(0)) : undefined)],
  // A subclass of tuple; sizes are used as tuples.
  ["torch.Size", (args) => (args.length === 1 && args[0] instanceof PyTuple ? args[0] : undefined)],
  ["_codecs.encode", encode],
]);

/** `type()`, `type(dict)` or `type(pairs)`. */
function dictOf(type: string, args: readonly PickleValue[], budget: CopyBudget): PyDict | undefined {
  const dict = new PyDict(type);
  const [source] = args;
  if (source === undefined) return dict;
  if (args.length > 1) return undefined;
  if (source instanceof PyDict) {
    budget.spend(source.size);
    for (const [key, value] of source.entries()) spendForms(budget, () => dict.set(key, value));
    return dict;
  }
  const pairs = itemsOf(source);
  if (pairs === undefined) return undefined;
  budget.spend(pairs.length);
  for (const pair of pairs) {
    const [key, value, ...more] = itemsOf(pair) ?? [];
    if (key === undefined || value === undefined || more.length > 0) return undefined;
    spendForms(budget, () => dict.set(key, value));
  }
  return dict;
}

/** `type()` or `type(items)`. */
function copyOf<T>(
  args: readonly PickleValue[],
  budget: CopyBudget,
  make: (items: PickleValue[]) => T,
): T | undefined {
  if (args.length === 0) return make([]);
  const items = itemsOf(args[0]);
  if (args.length > 1 || items === undefined) return undefined;
  budget.spend(items.length);
  return make([...items]);
}

function setOf(items: readonly PickleValue[], frozen: boolean, budget: CopyBudget): PySet {
  const set = new PySet(frozen);
  for (const item of items) spendForms(budget, () => set.add(item));
  return set;
}

/** Characters of keys' forms that are made at the cost of a copied value. */
const CHARACTERS_A_COPY = 64;

/** Long tuples can be keys of very many copies. */
function spendForms(budget: CopyBudget, put: () => void): void {
  const before = charactersOfForms();
  put();
  budget.spend(Math.floor((charactersOfForms() - before) / CHARACTERS_A_COPY));
}

function itemsOf(value: PickleValue | undefined): readonly PickleValue[] | undefined {
  return value instanceof PyList || value instanceof PyTuple ? value.items : undefined;
}

/** `encode(text, "latin1")`: how protocols 0 to 2 write bytes. */
function encode(args: readonly PickleValue[], budget: CopyBudget): PyBytes | undefined {
  const [text, encoding] = args;
  if (args.length !== 2 || typeof text !== "string" || (encoding !== "latin1" && encoding !== "latin-1")) {
    return undefined;
  }
  // Only keys are of use here, and none is longer.
  if (text.length > MAX_KEY_TEXT) return undefined;
  budget.spend(text.length);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code > 0xff) return undefined;
    bytes[index] = code;
  }
  return new PyBytes(bytes);
}
