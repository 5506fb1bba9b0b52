import { quote } from "../../errors.ts";
import { isScriptClass, type KnownGlobal } from "../globals.ts";
import { ObjectNode, PyDict, PyList } from "../pickle/containers.ts";
import type { FillOpcode } from "../pickle/hooks.ts";
import { GlobalRef, type PickleValue } from "../pickle/values.ts";
import type { CallFault } from "./call-checks.ts";
import { arrayStateFault } from "./numpy-arrays.ts";
import { isTensorClass, type KnownOf, type PlainData } from "./plain-data.ts";

/** Containers whose items Python's pickler writes one by one, by what adds them. */
const CONTAINERS: Readonly<Record<FillOpcode, RegExp>> = {
  append: /^(?:builtins\.list|collections\.deque)$/,
  add: /^builtins\.set$/,
  set: /^(?:builtins\.dict|collections\.(?:OrderedDict|defaultdict|Counter)|addict\.addict\.Dict|easydict\.EasyDict|transformers\.utils\.generic\.ModelOutput|(?:\w+\.)+AttributeDict)$/,
};

/** Names of Python's own containers, whose items are no attributes. */
const OWN_CONTAINER = /^(?:builtins|collections)\./;

/**
 * Functions, by their names, and what lets another object answer for it. The classes and functions of these packages with
 * such names make new objects, which honest pickles give a state.
 */
const FUNCTION = /\._*[a-z]\w*$|^types\.GenericAlias$/;
const MAKES_OBJECTS =
  /^(?:builtins|collections|copyreg|datetime|functools|numpy)\.(?!.*\.(?:scalar|_frombuffer)$)/;

/** NumPy's classes of arrays. */
const ARRAY = /^numpy\.(?:ndarray|matrix|rec\.recarray|ma\.MaskedArray)$/;

/** Functions that make an array of the class that they are given. */
const MAKES_ARRAY = /^numpy\.(?:_?core\.multiarray\._reconstruct|ma\.core\._mareconstruct)$/;

/** Optimizers: their `__setstate__` calls methods of these attributes, and these methods. */
const OPTIMIZER = /^torch\.optim\./;
const OPTIMIZER_DICTS = ["defaults", "state"];
const OPTIMIZER_METHODS = ["_patch_step_function", "profile_hook_step"];

/**
 * What objects are given after they were made. Python calls `__setstate__`, `append`, `extend` and `add` of the object
 * itself, which can be anything once it has attributes. Its pickler writes the items first and then one state.
 */
export class ObjectStates {
  readonly #knownOf: KnownOf;
  readonly #data: PlainData;

  constructor(knownOf: KnownOf, data: PlainData) {
    this.#knownOf = knownOf;
    this.#data = data;
  }

  /** The class of an object, also if a helper of Python's makes it, or the function that returned it. */
  classOf({ callable, args }: ObjectNode): KnownGlobal | undefined {
    const known = this.#knownOf(callable);
    return known?.path.startsWith("copyreg.") ? this.#knownOf(args.items[0]) : known;
  }

  /** What is wrong with items that are added to an object. */
  itemsFault(object: ObjectNode, opcode: FillOpcode): CallFault | undefined {
    const known = this.classOf(object);
    if (!isVouchedFor(known)) return undefined;
    if (!CONTAINERS[opcode].test(known.path))
      return ["indirect-call", `adds items to what is no container: ${quote(known.path)}`];
    return object.states.length > 0
      ? ["indirect-call", "adds items to an object that has a state"]
      : undefined;
  }

  /** What is wrong with a state that an object is given. */
  stateFault(object: ObjectNode, state: PickleValue): CallFault | undefined {
    const known = this.classOf(object);
    // Types have rules of their own.
    if (known?.path === "numpy.dtype") return undefined;
    if (object.states.length > 0) return ["indirect-call", "gives an object a second state"];
    if (!isVouchedFor(known)) return undefined;
    const { path } = known;
    if (FUNCTION.test(path) && !MAKES_OBJECTS.test(path))
      return ["indirect-call", `changes what a call of ${quote(path)} returned`];
    // Python's pickler gives it none, and it would set the attribute that is called for missing values.
    if (path === "collections.defaultdict")
      return ["indirect-call", "changes how a defaultdict makes missing values"];
    if (this.#isArray(object, path)) return arrayStateFault(state, this.#knownOf, this.#data);
    if (!this.#isHonest(object, path, state))
      return ["indirect-call", `gives ${quote(path)} a state with what its methods call`];
    return undefined;
  }

  #isArray({ args }: ObjectNode, path: string): boolean {
    return ARRAY.test(MAKES_ARRAY.test(path) ? (this.#knownOf(args.items[0])?.path ?? "") : path);
  }

  #isHonest(object: ObjectNode, path: string, state: PickleValue): boolean {
    // A class's own method may take it for a dict. Some dicts are their own state.
    if (state instanceof ObjectNode && state !== object && !this.#data.holds([state])) return false;
    if (isTensorClass(path)) return this.#data.holds([state]);
    if (CONTAINERS.set.test(path) && !OWN_CONTAINER.test(path)) return !hasOwnSetter(object);
    if (!(state instanceof PyDict)) return true;
    // It makes one method stand for another.
    if (/^transformers\..*Config$/.test(path)) return state.get("attribute_map") === undefined;
    return !OPTIMIZER.test(path) || this.#isOptimizer(state);
  }

  #isOptimizer(state: PyDict): boolean {
    const groups = state.get("param_groups") ?? new PyList();
    return (
      groups instanceof PyList &&
      // Many optimizers may share them.
      this.#data.spend(groups.items.length) &&
      groups.items.every(isDict) &&
      OPTIMIZER_METHODS.every((name) => state.get(name) === undefined) &&
      OPTIMIZER_DICTS.every((name) => this.#isMapping(state.get(name)))
    );
  }

  #isMapping(value: PickleValue | undefined): boolean {
    if (!(value instanceof ObjectNode)) return value === undefined || isDict(value);
    return OWN_CONTAINER.test(this.classOf(value)?.path ?? "") && value.states.length === 0;
  }
}

/** Whether somebody knows what is done with it: nobody does of unknown names, which are a finding by themselves. */
function isVouchedFor(known: KnownGlobal | undefined): known is KnownGlobal {
  return (known?.role === "inert" || known?.role === "interpreted") && !isScriptClass(known.path);
}

function isDict(value: PickleValue): boolean {
  return value instanceof PyDict;
}

/** Whether a dict whose items are attributes has an item that Python would call with the state. */
function hasOwnSetter({ args, dict }: ObjectNode): boolean {
  const isPlain = (value: PickleValue) =>
    value === null ||
    value instanceof GlobalRef ||
    (value instanceof PyDict && value.get("__setstate__") === undefined);
  return ![dict, ...args.items].every(isPlain);
}
