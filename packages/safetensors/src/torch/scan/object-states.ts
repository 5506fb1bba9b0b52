import { quote } from "../../errors.ts";
import { isScriptClass, type KnownGlobal } from "../globals.ts";
import { ObjectNode, PyDict, PyList, PyTuple } from "../pickle/containers.ts";
import type { FillOpcode } from "../pickle/hooks.ts";
import { GlobalRef, type PickleValue } from "../pickle/values.ts";
import { isPythons, partsOf, stateAttributes } from "./attributes.ts";
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
const ARRAY = /^numpy\.(?:ndarray|matrix|rec\.recarray|ma\.(?:MaskedArray|core\.MaskedConstant))$/;

/** Functions that make an array of the class that they are given. */
const MAKES_ARRAY = /^numpy\.(?:_?core\.multiarray\._reconstruct|ma\.core\._mareconstruct)$/;

/** NumPy's generators: the second part of their state is no slots. */
const RANDOM = /^numpy\.random\./;

/** Configurations of models. */
const CONFIG = /^transformers\..*Config$/;

/** Optimizers: their `__setstate__` calls methods of their attributes, and these methods. */
const OPTIMIZER = /^torch\.optim\./;
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
    if (isTensorClass(path)) return this.#data.holds([state]);
    const [attributes, slots = null] = partsOf(state);
    // A class's own method may take it for a dict. Some dicts are their own state.
    if (attributes instanceof ObjectNode && attributes !== object && !this.#data.holds([attributes]))
      return false;
    if (!RANDOM.test(path) && stateAttributes(new PyTuple([null, slots]), this.#data) === undefined)
      return false;
    if (CONTAINERS.set.test(path) && !OWN_CONTAINER.test(path)) return !this.#hasOwnSetter(object);
    // It makes one method stand for another.
    if (CONFIG.test(path)) return stateAttributes(state, this.#data)?.has("attribute_map") === false;
    return !OPTIMIZER.test(path) || this.#isOptimizer(state);
  }

  /** Whether it is the state of an optimizer, which takes any pairs for attributes, and goes through all parameters. */
  #isOptimizer(state: PickleValue): boolean {
    const attributes = state instanceof PyDict ? stateAttributes(state, this.#data) : undefined;
    if (attributes === undefined) return false;
    const groups = attributes.get("param_groups") ?? new PyList();
    const values = attributes.get("state") ?? new PyDict();
    return (
      groups instanceof PyList &&
      // Many optimizers may share them.
      this.#data.spend(groups.items.length) &&
      groups.items.every((group) => this.#isGroup(group)) &&
      !OPTIMIZER_METHODS.some((name) => attributes.has(name)) &&
      this.#isMapping(attributes.get("defaults") ?? new PyDict()) &&
      this.#isMapping(values) &&
      this.#holdsMappings(values instanceof ObjectNode ? values.dict : values)
    );
  }

  #isGroup(group: PickleValue): boolean {
    const settings = group instanceof PyDict ? stateAttributes(group, this.#data) : undefined;
    return settings !== undefined && (settings.get("params") ?? new PyList()) instanceof PyList;
  }

  /** Whether the values of a dict are dicts: an object may call an attribute to find its items. */
  #holdsMappings(values: PickleValue): boolean {
    if (!(values instanceof PyDict && this.#data.spend(values.size))) return false;
    for (const [, value] of values.entries()) if (!this.#isMapping(value)) return false;
    return true;
  }

  #isMapping(value: PickleValue): boolean {
    if (!(value instanceof ObjectNode)) return value instanceof PyDict;
    const { items } = value.args;
    const isEmpty = items.length === 0 || (items.length === 1 && items[0] instanceof GlobalRef);
    return isEmpty && OWN_CONTAINER.test(this.classOf(value)?.path ?? "") && value.states.length === 0;
  }

  /** Whether a dict whose items are attributes has an item that Python would call with the state, or may have one. */
  #hasOwnSetter({ args, dict }: ObjectNode): boolean {
    const isPlain = (value: PickleValue): boolean => {
      if (value instanceof GlobalRef) return true;
      const names = value instanceof PyTuple ? undefined : stateAttributes(value, this.#data);
      return names !== undefined && ![...names.keys()].some(isPythons);
    };
    // Many objects may share their arguments.
    return !(isPlain(dict) && this.#data.spend(args.items.length) && args.items.every(isPlain));
  }
}

/** Whether somebody knows what is done with it: nobody does of unknown names, which are a finding by themselves. */
function isVouchedFor(known: KnownGlobal | undefined): known is KnownGlobal {
  return (known?.role === "inert" || known?.role === "interpreted") && !isScriptClass(known.path);
}
