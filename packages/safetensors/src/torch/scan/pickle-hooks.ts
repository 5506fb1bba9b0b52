import { quote } from "../../errors.ts";
import { classifyGlobal, type KnownGlobal } from "../globals.ts";
import { isTensorFunction } from "../inert-functions.ts";
import { ObjectNode, PyBytes, PyDict, PyList, PySet, PyTuple } from "../pickle/containers.ts";
import type { FillOpcode, PickleHooks } from "../pickle/hooks.ts";
import { GlobalRef, PersistentId, type PickleNode, type PickleValue } from "../pickle/values.ts";
import { textOf } from "../python-bytes.ts";
import { STORAGE_CLASSES, type TorchDtype } from "../storage.ts";
import { Method, mayBeExplained, TensorFunctions } from "../tensor-functions.ts";
import { type CallCheck, callChecks } from "./call-checks.ts";
import { DelayedCalls, hasKeywords } from "./delayed-calls.ts";
import { HandedOn, handedOnFault, judgedByArguments } from "./handed-on.ts";
import { innerCalls } from "./inner-calls.ts";
import { ARRAY_WRAPPER, type JoblibReader } from "./joblib.ts";
import { JoblibArrays } from "./joblib-arrays.ts";
import { NumpyTypes } from "./numpy-types.ts";
import { ObjectStates } from "./object-states.ts";
import { PlainData } from "./plain-data.ts";
import type { Draft } from "./report.ts";
import { keyOf, type StorageUse, StorageUses } from "./storage-uses.ts";

const NO_ARGUMENTS = new PyTuple([]);

/** What is done with the calls of a name and the storages of a class: found once for each, as a pickle has few of them. */
interface NameUse {
  readonly checks: readonly CallCheck[];
  /** Whether nothing need be looked at in a call without arguments. */
  readonly isEmptyHonest: boolean;
  readonly action: CallAction;
  /** Of a class of storages. */
  readonly dtype: TorchDtype | undefined;
  /** One node stands for all tensors and storages that a name makes: nothing asks which one it is, and there are very many. */
  node: ObjectNode | undefined;
}

type CallAction =
  | ("explain" | "load" | "wrap" | "rebuild" | "delay" | "default" | "inner" | "type" | "encode")
  | undefined;

function callAction(path: string): CallAction {
  if (mayBeExplained(path)) return "explain";
  if (path === "torch.storage._load_from_bytes") return "load";
  if (path === ARRAY_WRAPPER) return "wrap";
  if (path === "functools.partial") return "delay";
  if (path === "collections.defaultdict") return "default";
  if (path === "numpy.dtype") return "type";
  // As pickles of old protocols write bytes, also those in a type's state.
  if (path === "_codecs.encode") return "encode";
  if (innerCalls(path)) return "inner";
  return path.startsWith("torch._utils._rebuild_") ? "rebuild" : undefined;
}

/** Classes of NumPy's types. */
const NUMPY_TYPE = /^numpy\.dtype(?:s\.\w+)?$/;

/**
 * Packages of modules and schedulers, whose objects have methods as attributes. What is computed when it is read,
 * as `RNNBase.all_weights`, reads other attributes of theirs, and runs nothing.
 */
const METHOD_OWNERS =
  /^(?:torch\.(?:nn\.modules|optim)|transformers\.activations|ultralytics\.nn\.modules)\./;

/** Stands for an argument that can still change when nobody looks at it. */
const CHANGEABLE = new PersistentId(null);

/**
 * What the scanner wants to know of a pickle. It interprets no call, and nothing ends the reading: what is wrong is
 * noted, the call stays a node.
 */
export class ScanHooks implements PickleHooks {
  readonly names: Map<GlobalRef, KnownGlobal> = new Map();
  readonly #storages = new StorageUses();
  readonly drafts: Draft[] = [];
  readonly recalled: ReadonlySet<number> | undefined;
  readonly allowsLateProtocol: boolean;
  /** Arguments of `torch.storage._load_from_bytes`: bytes, or text that stands for bytes of the same numbers. */
  readonly loaded: (Uint8Array | string)[] = [];
  readonly arrays: JoblibArrays;
  readonly #uses = new Map<GlobalRef, NameUse>();
  readonly #types: NumpyTypes;
  readonly #functions = new TensorFunctions();
  readonly #delayed: DelayedCalls;
  readonly #data: PlainData;
  readonly #states: ObjectStates;
  readonly #handedOn = new HandedOn();
  #hasMethods = false;

  /**
   * @param recalled indices of the memo that the pickle asks for, if that is known.
   * @param reader who reads it.
   * @param bytes of the pickle.
   */
  constructor(recalled: ReadonlySet<number> | undefined, reader: JoblibReader, bytes: Uint8Array) {
    this.recalled = recalled;
    this.allowsLateProtocol = reader !== "joblib";
    this.arrays = new JoblibArrays(bytes, reader, recalled !== undefined);
    const knownOf = (value: PickleValue | undefined) => this.#knownOf(value);
    this.#delayed = new DelayedCalls(knownOf);
    this.#data = new PlainData(knownOf, bytes.length);
    this.#types = new NumpyTypes(knownOf);
    this.#states = new ObjectStates(knownOf, this.#data);
  }

  /** The storages that the pickle refers to, by their key. */
  get storages(): Map<string, StorageUse> {
    return this.#storages.byKey;
  }

  onGlobal(ref: GlobalRef): void {
    const known = classifyGlobal(ref.module, ref.name);
    this.names.set(ref, known);
    this.#handedOn.addName(known.path);
  }

  call(callable: GlobalRef, args: PyTuple): PickleValue | undefined {
    const use = this.#useOf(callable);
    const { items } = args;
    this.#judge(callable, use, items, undefined);
    const { action } = use;
    if (action === "type") return this.#types.make(callable, args);
    if (action !== "encode") this.#types.use();
    if (action === "explain") return this.#attribute(callable, args);
    if (action === "load") this.#load(callable, items);
    if (action === "inner") {
      this.#handedOn.addClass(args, items[0]);
      this.#judgeInner(callable, items);
    }
    if (action === "wrap" || action === "inner") return this.#arrayOf(callable, items);
    if (action !== "rebuild" || !(items[0] instanceof ObjectNode)) return undefined;
    use.node ??= new ObjectNode(callable, args);
    return use.node;
  }

  /** A function or method that is a value. */
  #attribute(callable: GlobalRef, args: PyTuple): PickleNode | undefined {
    const value = this.#functions.call(callable, args);
    if (value instanceof GlobalRef) this.onGlobal(value);
    if (!(value instanceof Method)) return value;
    this.#hasMethods = true;
    const owner = value.owner instanceof ObjectNode ? this.#classOf(value.owner) : this.#pathOf(value.owner);
    if (!METHOD_OWNERS.test(owner))
      this.#note("indirect-call", `reads an attribute of ${quote(owner)}, which may run code`, callable);
    return value;
  }

  /** What is wrong with a call by its arguments, and what it keeps for later. */
  #judge(
    callable: GlobalRef,
    { checks, isEmptyHonest, action }: NameUse,
    items: readonly PickleValue[],
    kwargs: PickleValue | undefined,
  ): void {
    if (checks.length === 0 && action === undefined && !this.#hasMethods && !this.#handedOn.isNeeded) return;
    if (isEmptyHonest && items.length === 0 && kwargs === undefined) return;
    if (!this.#maySpend(items, callable)) return;
    if (this.#hasMethods && items.some((item) => item instanceof Method))
      this.#note("indirect-call", "hands a method to a call, which may call it", callable);
    // One tuple can hand a class to a helper of Python's, which is how objects are made, and then to another call.
    if (action !== "inner" && this.#handedOn.isNeeded) {
      for (const item of items) {
        const fault = handedOnFault(this.#pathOf(item));
        if (fault) this.#note(...fault, callable);
      }
    }
    for (const check of checks) {
      const fault = check(items, hasKeywords(kwargs));
      if (fault) this.#note(...fault, callable);
    }
    if (action === "delay") this.#delayed.addPartial(items, kwargs);
    if (action === "default") this.#delayed.addFactory(items[0]);
  }

  #judgeInner(callable: GlobalRef, items: readonly PickleValue[], isDelayed = false): void {
    const inners = innerCalls(this.names.get(callable)!.path);
    if (!inners || !this.#maySpend(items, callable)) return;
    for (const inner of inners(items)) {
      const isPartial = this.#pathOf(inner.callable) === "functools.partial";
      if (!(inner.callable instanceof GlobalRef) || (isPartial && isDelayed))
        this.#note("indirect-call", "makes an object of what is no class", callable);
      else this.#judge(inner.callable, this.#useOf(inner.callable), inner.items, inner.kwargs);
    }
  }

  /** Few long tuples in the memo can be handed to very many calls. */
  #maySpend({ length }: readonly PickleValue[], callable: GlobalRef): boolean {
    if (this.#data.spend(length)) return true;
    this.#note("limit", "hands more arguments to its calls than it has bytes", callable);
    return false;
  }

  /** The array that a call makes for joblib: `NumpyArrayWrapper()`, or how protocols 0 and 1 write it. */
  #arrayOf(callable: GlobalRef, items: readonly PickleValue[]): PickleNode | undefined {
    const [made, base, state] = items;
    const isByHelper =
      this.#pathOf(made) === ARRAY_WRAPPER &&
      this.#pathOf(base) === "builtins.object" &&
      state === null &&
      items.length === 3;
    const isArray = this.#useOf(callable).action === "wrap" ? items.length === 0 : isByHelper;
    return isArray ? this.arrays.make() : undefined;
  }

  #useOf(name: GlobalRef): NameUse {
    let use = this.#uses.get(name);
    if (!use) {
      const known = this.names.get(name)!;
      const checks = callChecks(known, (value) => this.#knownOf(value), this.#data);
      const action = callAction(known.path);
      use = {
        checks,
        isEmptyHonest: action === undefined && checks.every((check) => check([], false) === undefined),
        action,
        dtype: STORAGE_CLASSES.get(known.path),
        node: undefined,
      };
      this.#uses.set(name, use);
    }
    return use;
  }

  onNewObject(callable: GlobalRef, { items }: PyTuple, kwargs?: PyDict): void {
    this.#types.use();
    this.#judge(callable, this.#useOf(callable), items, kwargs);
    const [code, what] = judgedByArguments(this.names.get(callable)!.path) ?? [];
    if (code) this.#note(code, what!, callable);
  }

  onResultCalled(at: number): void {
    this.drafts.push(["indirect-call", "calls what another call returned", { at }]);
  }

  onMadeName(object: ObjectNode, at: number): void {
    const { callable, args } = object;
    const made = this.#classOf(object);
    // What these make is no text, so that every reader fails: others recall them where an array of objects recalls a text
    // from its own memo, and random bytes refer to what is outside.
    const isClass = /\.[A-Z]\w*$|^(?:collections|datetime)\.\w+$|^numpy\.dtype$|\._reconstruct$/.test(made);
    const isNumber = /\.multiarray\.scalar$/.test(made) && args.items[1] instanceof PyBytes;
    const isOutside = callable instanceof GlobalRef && !this.names.has(callable);
    if (!isClass && !isNumber && !isOutside)
      this.drafts.push(["hidden-name", "asks for a name that a call makes", { at }]);
  }

  onItems(object: ObjectNode, opcode: FillOpcode, at: number): void {
    const fault = this.#states.itemsFault(object, opcode);
    if (fault) this.drafts.push([...fault, { at }]);
  }

  onState(object: ObjectNode, state: PickleValue, at: number): void {
    const made = this.#classOf(object);
    if (NUMPY_TYPE.test(made)) this.#types.addState(object, state);
    else this.#types.use();
    if (made === "functools.partial") this.#delayed.addState(object, state);
    const fault = this.#states.stateFault(object, state);
    if (fault) this.drafts.push([...fault, { at }]);
  }

  /** What a name is by what was done with it, in a pickle that could be followed to its end. */
  explained(ref: GlobalRef): KnownGlobal {
    const known = this.names.get(ref)!;
    return this.#functions.explains(ref) ? { path: known.path, role: "inert" } : known;
  }

  /** The path of the class of an object, also if a helper of Python's makes it. */
  #classOf(object: ObjectNode): string {
    return this.#states.classOf(object)?.path ?? "";
  }

  /**
   * At the end: names that were handed to something that may call them, functions that were called, and calls that were
   * kept for later.
   */
  checkValues(): void {
    this.#checkDelayed();
    if (!this.#types.areHonest())
      this.drafts.push(["malformed-pickle", "makes a NumPy type that can reach memory which is not its own"]);
    for (const [ref, { path }] of this.names) {
      const fault = this.#handedOn.fault(ref, path);
      if (fault) this.#note(...fault, ref);
      if (ref.called && isTensorFunction(path))
        this.#note("function-call", `calls the function ${quote(path)}`, ref);
    }
  }

  #checkDelayed(): void {
    // Judging one may add another.
    for (const { callable, items, kwargs } of this.#delayed.calls()) {
      const use = this.#useOf(callable);
      const isOwn = /^torch\.(?:nn\.modules|optim)\./.test(this.names.get(callable)!.path);
      // Nothing calls it, and numbers would make these harmless modules and optimizers.
      if ((items.length === 0 && !hasKeywords(kwargs)) || !this.#maySpend(items, callable)) continue;
      if (isOwn && this.#data.holds([...items, kwargs])) continue;
      const kept = items.map((item) => (isChangeable(item) ? CHANGEABLE : item));
      this.#judge(callable, use, kept, kwargs);
      this.#judgeInner(callable, kept, true);
    }
    for (const fault of this.#delayed.faults()) this.drafts.push(["indirect-call", fault]);
  }

  build(target: PickleNode, state: PickleValue, at: number): boolean | number {
    return this.arrays.build(target, state, at);
  }

  /** A storage, or `("module", class, file, source)` of whole modules. */
  persistentLoad(id: PickleValue): PickleValue {
    const parts = id instanceof PyTuple ? id.items : [];
    const named = parts[1];
    if (!(named instanceof GlobalRef)) return this.#noStorage();
    // One by one: this is called for each tensor, and taking an array apart is slow.
    if (textOf(parts[0]) === "module") {
      this.#handedOn.addClass(id as PyTuple, named);
      return named;
    }
    const use = this.#useOf(named);
    const taken = use.dtype && this.#storages.take(parts, use.dtype);
    if (taken === undefined) return this.#noStorage();
    if (!taken) this.drafts.push(["storage-size", `describes storage ${keyOf(parts[2])} in two ways`]);
    use.node ??= new ObjectNode(named, NO_ARGUMENTS);
    return use.node;
  }

  #noStorage(): ObjectNode {
    this.drafts.push(["persistent-id", "refers to something outside of it that is no storage"]);
    return new ObjectNode(new GlobalRef("torch", "storage", 0), NO_ARGUMENTS);
  }

  #load(callable: GlobalRef, items: readonly PickleValue[]): void {
    const [bytes] = items;
    if (items.length === 1 && bytes instanceof PyBytes) this.loaded.push(bytes.bytes);
    else if (items.length === 1 && bytes instanceof ObjectNode && this.#isEncodedText(bytes))
      this.loaded.push(bytes.args.items[0] as string);
    else this.#note("indirect-load", "loads another pickle from bytes that cannot be followed", callable);
  }

  #isEncodedText({ callable, args }: ObjectNode): boolean {
    const isEncode = this.#pathOf(callable) === "_codecs.encode";
    return isEncode && typeof args.items[0] === "string" && /^latin-?1$/.test(String(args.items[1]));
  }

  #knownOf(value: PickleValue | undefined): KnownGlobal | undefined {
    return value instanceof GlobalRef ? this.names.get(value) : undefined;
  }

  #pathOf(value: PickleValue | undefined): string {
    return this.#knownOf(value)?.path ?? "";
  }

  #note(code: Draft[0], message: string, { at }: GlobalRef): void {
    this.drafts.push([code, message, { at }]);
  }
}

function isChangeable(value: PickleValue): boolean {
  return value instanceof PyList || value instanceof PyDict || value instanceof PySet;
}
