import type { KnownGlobal } from "../globals.ts";
import { ObjectNode, PyBytes, PyDict, PyList, PySet, PyTuple } from "../pickle/containers.ts";
import { GlobalRef, PickleNode, type PickleValue, PyFloat } from "../pickle/values.ts";
import { TORCH_DTYPES } from "../storage.ts";

/** What a value is if it is a name. */
export type KnownOf = (value: PickleValue | undefined) => KnownGlobal | undefined;

/** Calls that make tensors, and nothing else: others put attributes into what they make. */
const MAKES_TENSORS = /^torch\._utils\._rebuild_(?!parameter_with_state$)/;

/** Calls that make data of what they are given. Arrays and their types take a state, which is data too. */
const MAKES_DATA =
  /^(?:_codecs\.encode|collections\.(?:OrderedDict|deque|Counter)|torch\.(?:Size|device|serialization\._get_layout)|datetime\.\w+|zoneinfo\.ZoneInfo\._unpickle|builtins\.(?:bytes|bytearray|str|int|float|bool|complex|list|dict|tuple|set|frozenset|range|slice))$/;
const MAKES_ARRAYS =
  /^numpy\.(?:dtype|_?core\.(?:multiarray\.(?:_reconstruct|scalar)|numeric\._frombuffer))$/;

/** Storages and tensors: old pickles give tensors a state, which is data too. */
const TENSOR_CLASS =
  /^torch\.(?:(?:\w+\.)*\w*(?:Storage|Tensor)|nn\.parameter\.(?:Parameter|Buffer)|autograd\.variable\.Variable)$/;

/** Whether a path is that of a class of storages or tensors. */
export function isTensorClass(path: string): boolean {
  return TENSOR_CLASS.test(path);
}

/** Names that stand for a type of numbers, for what makes arrays of them, or for how tensors lie in memory. */
const TYPE =
  /^(?:(?:numpy|ml_dtypes)\.\w+|torch\.(?:strided|sparse_\w+|per_\w+|contiguous_format|preserve_format|channels_last\w*))$/;

/** Names of Python, PyTorch and NumPy, whose objects are known one by one. */
const OWN =
  /^(?:torch|numpy|builtins|collections|copyreg|functools|uuid|logging|types|decimal|fractions|argparse|_?io|typing|random|datetime|pathlib|ml_dtypes|joblib)\./;

/** Whether a name is a class of another package, which is known to be harmless as long as nobody hands it objects. */
function isForeignClass({ path, role }: KnownGlobal): boolean {
  return role === "inert" && !OWN.test(path);
}

/**
 * Tells data from objects, which bring methods and attributes with them: data is None, numbers, text, bytes, tensors,
 * arrays, types of numbers, members of enumerations, and containers of these.
 */
export class PlainData {
  readonly #knownOf: KnownOf;
  #budget: number;

  /** @param budget values that are looked at in all: a pickle has fewer than bytes, and an honest one hands over each once. */
  constructor(knownOf: KnownOf, budget: number) {
    this.#knownOf = knownOf;
    this.#budget = budget;
  }

  /** Takes so many looks off the budget; false if there are no more. */
  spend(looks: number): boolean {
    this.#budget -= looks;
    return this.#budget >= 0;
  }

  /** Whether all of these are data, as they are now. Nothing is once the budget is spent. */
  holds(values: readonly PickleValue[]): boolean {
    const seen = new Set<PickleValue>();
    const waiting: PickleValue[] = [];
    const add = (value: PickleValue): void => {
      this.#budget--;
      if (!(value instanceof PickleNode) || seen.has(value)) return;
      seen.add(value);
      waiting.push(value);
    };
    for (const value of values) add(value);
    for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
      if (this.#budget < 0 || !this.#isData(value, add)) return false;
    }
    return this.#budget >= 0;
  }

  /** Whether a node is data if those that it has in it are. */
  #isData(node: PickleValue, add: (value: PickleValue) => void): boolean {
    if (node instanceof PyFloat || node instanceof PyBytes) return true;
    if (node instanceof GlobalRef) return this.#isType(node);
    if (node instanceof ObjectNode) return this.#isMadeOfData(node, add);
    if (node instanceof PyDict) {
      for (const [key, value] of node.entries()) {
        add(key);
        add(value);
      }
      return true;
    }
    const items = node instanceof PyTuple || node instanceof PyList ? node.items : undefined;
    for (const item of items ?? (node instanceof PySet ? node.items() : [])) add(item);
    return items !== undefined || node instanceof PySet;
  }

  #isType(name: GlobalRef): boolean {
    const path = this.#knownOf(name)?.path ?? "";
    return TYPE.test(path) || TORCH_DTYPES.has(path.replace(/^torch\./, ""));
  }

  #isMadeOfData(node: ObjectNode, add: (value: PickleValue) => void): boolean {
    const maker = this.#knownOf(node.callable);
    if (maker === undefined || node.kwargs !== undefined) return false;
    const { states } = node;
    const { items } = node.args;
    if (MAKES_TENSORS.test(maker.path)) return states.length === 0;
    const isMember = isForeignClass(maker) && items.length === 1 && !(items[0] instanceof PickleNode);
    const isArray = MAKES_ARRAYS.test(maker.path) || isTensorClass(maker.path);
    if (!isMember && !isArray && !MAKES_DATA.test(maker.path)) return false;
    if (states.length > 0 && !isArray) return false;
    for (const value of [node.args, node.list, node.dict, ...states]) add(value);
    return true;
  }
}
