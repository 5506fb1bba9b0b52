import { quote } from "../../errors.ts";
import { classifyGlobal, type KnownGlobal } from "../globals.ts";
import { isTensorFunction } from "../inert-functions.ts";
import { ObjectNode, PyBytes, PyDict, PyTuple } from "../pickle/containers.ts";
import { PickleFault } from "../pickle/fault.ts";
import type { PickleHooks } from "../pickle/hooks.ts";
import { GlobalRef, PickleNode, type PickleValue } from "../pickle/values.ts";
import { STORAGE_CLASSES, type TorchDtype } from "../storage.ts";
import { mayBeExplained, TensorFunctions } from "../tensor-functions.ts";
import { type CallCheck, callChecks } from "./call-checks.ts";
import { type ArrayPlace, arrayPlace } from "./joblib.ts";
import type { Draft } from "./report.ts";

/** Names whose arguments decide what a call does. They may be called, but not handed to something else that calls them. */
const JUDGED_BY_ARGUMENTS = new Map<string, readonly [code: Draft[0], what: string]>([
  ["torch.storage._load_from_bytes", ["indirect-load", "can load another pickle"]],
  ["torch._tensor._rebuild_from_type_v2", ["indirect-load", "calls its argument"]],
  ["builtins.type", ["made-class", "can make a class"]],
  ["enum.EnumMeta", ["made-class", "can make a class"]],
  ["enum.EnumType", ["made-class", "can make a class"]],
]);

const NO_ARGUMENTS = new PyTuple([]);

/** A storage that a pickle refers to. */
export interface StorageUse {
  readonly dtype: TorchDtype;
  /** Number of elements. */
  readonly length: number;
}

/** What is done with the calls of a name and the storages of a class: found once for each, as a pickle has few of them. */
interface NameUse {
  readonly checks: readonly CallCheck[];
  readonly action: CallAction;
  /** Of a class of storages. */
  readonly dtype: TorchDtype | undefined;
  /** One node stands for all tensors and storages that a name makes: nothing asks which one it is, and there are very many. */
  node: ObjectNode | undefined;
}

type CallAction = "explain" | "load" | "wrap" | "rebuild" | undefined;

function callAction(path: string): CallAction {
  if (mayBeExplained(path)) return "explain";
  if (path === "torch.storage._load_from_bytes") return "load";
  if (path === "joblib.numpy_pickle.NumpyArrayWrapper") return "wrap";
  return path.startsWith("torch._utils._rebuild_") ? "rebuild" : undefined;
}

/** An array of joblib: its bytes follow the opcode that sets its state. */
class ArrayWrapper extends PickleNode {
  get kind(): string {
    return "array of joblib";
  }
}

/**
 * What the scanner wants to know of a pickle. It interprets no call, and nothing ends the reading: what is wrong is
 * noted, the call stays a node.
 */
export class ScanHooks implements PickleHooks {
  readonly names: Map<GlobalRef, KnownGlobal> = new Map();
  readonly storages: Map<string, StorageUse> = new Map();
  readonly drafts: Draft[] = [];
  readonly recalled: ReadonlySet<number> | undefined;
  /** Arguments of `torch.storage._load_from_bytes`: bytes, or text that stands for bytes of the same numbers. */
  readonly loaded: (Uint8Array | string)[] = [];
  /** Set when the pickle goes on after the bytes of an array. */
  array: ArrayPlace | undefined;
  #arraysToPass: number;
  readonly #uses = new Map<GlobalRef, NameUse>();
  readonly #objectTypes = new Set<ObjectNode>();
  readonly #functions = new TensorFunctions();

  /**
   * @param recalled indices of the memo that the pickle asks for, if that is known.
   * @param arraysToPass arrays of joblib whose bytes are not there any more.
   */
  constructor(recalled: ReadonlySet<number> | undefined, arraysToPass: number) {
    this.recalled = recalled;
    this.#arraysToPass = arraysToPass;
  }

  onGlobal(ref: GlobalRef): void {
    this.names.set(ref, classifyGlobal(ref.module, ref.name));
  }

  call(callable: GlobalRef, args: PyTuple): PickleValue | undefined {
    const use = this.#useOf(callable);
    const { items } = args;
    for (const check of use.checks) {
      const fault = check(items);
      if (fault) this.#note(...fault, callable);
    }
    if (use.action === "explain") return this.#functions.call(callable, args);
    if (use.action === "load") this.#load(callable, items);
    if (use.action === "wrap") return new ArrayWrapper();
    if (use.action !== "rebuild" || !(items[0] instanceof ObjectNode)) return undefined;
    use.node ??= new ObjectNode(callable, args);
    return use.node;
  }

  #useOf(name: GlobalRef): NameUse {
    let use = this.#uses.get(name);
    if (!use) {
      const known = this.names.get(name)!;
      use = {
        checks: callChecks(known, (value) => this.#knownOf(value)),
        action: callAction(known.path),
        dtype: STORAGE_CLASSES.get(known.path),
        node: undefined,
      };
      this.#uses.set(name, use);
    }
    return use;
  }

  onNewObject(callable: GlobalRef): void {
    const [code, what] = JUDGED_BY_ARGUMENTS.get(this.names.get(callable)!.path) ?? [];
    if (code) this.#note(code, what!, callable);
  }

  onResultCalled(at: number): void {
    this.drafts.push(["indirect-call", "calls what another call returned", { at }]);
  }

  /** A NumPy type that denies that there are Python objects in it makes NumPy take the bytes of an array for pointers. */
  onState(object: ObjectNode, state: PickleValue): void {
    if (this.#pathOf(object.callable) !== "numpy.dtype" || !(state instanceof PyTuple)) return;
    const [, , base, , fields, , , flags] = state.items;
    const parts = fields instanceof PyDict ? Array.from(fields.entries(), ([, field]) => field) : [];
    const holdsObjects = [base, ...parts].some(
      (part) => part instanceof PyTuple && this.#holdsObjects(part.items[0]),
    );
    if (holdsObjects) this.#objectTypes.add(object);
    if (this.#holdsObjects(object) && (typeof flags !== "number" || flags % 2 === 0))
      this.drafts.push(["malformed-pickle", "makes a NumPy type that hides the Python objects in it"]);
  }

  /** What a name is by what was done with it, in a pickle that could be followed to its end. */
  explained(ref: GlobalRef): KnownGlobal {
    const known = this.names.get(ref)!;
    return this.#functions.explains(ref) ? { path: known.path, role: "inert" } : known;
  }

  /** At the end: names that were handed to something that may call them, and functions that were called. */
  checkValues(): void {
    for (const [ref, { path }] of this.names) {
      const [code, what] = JUDGED_BY_ARGUMENTS.get(path) ?? [];
      if (code && ref.pushes > ref.calls) this.#note(code, `hands on ${quote(path)}, which ${what}`, ref);
      if (ref.called && isTensorFunction(path))
        this.#note("function-call", `calls the function ${quote(path)}`, ref);
    }
  }

  build(target: PickleNode, state: PickleValue): boolean {
    if (!(target instanceof ArrayWrapper) || !(state instanceof PyDict)) return false;
    if (this.#arraysToPass-- > 0) return true;
    this.array = arrayPlace(state);
    throw new PickleFault("an array of unknown size follows");
  }

  /** `("storage", class, key, location, length, …)`, or `("module", class, file, source)` of whole modules. */
  persistentLoad(id: PickleValue): PickleValue {
    const parts = id instanceof PyTuple ? id.items : [];
    // One by one: this is called for each tensor, and taking an array apart is slow.
    const kind = textOf(parts[0]);
    const named = parts[1];
    const length = parts[4];
    if (kind === "module" && named instanceof GlobalRef) return named;
    const use = named instanceof GlobalRef ? this.#useOf(named) : undefined;
    const dtype = use?.dtype;
    const keyText = textOf(parts[2]);
    const isStorage =
      (parts.length === 5 || parts.length === 6) &&
      kind === "storage" &&
      dtype !== undefined &&
      keyText !== undefined &&
      isStorageKey(keyText) &&
      typeof length === "number" &&
      length >= 0 &&
      Number.isSafeInteger(length * dtype.bytes);
    if (!isStorage) {
      this.drafts.push(["persistent-id", "refers to something outside of it that is no storage"]);
      return new ObjectNode(new GlobalRef("torch", "storage", 0), NO_ARGUMENTS);
    }
    const known = this.storages.get(keyText);
    if (known && (known.dtype !== dtype || known.length !== length))
      this.drafts.push(["storage-size", `describes storage ${keyText} in two ways`]);
    if (!known) this.storages.set(keyText, { dtype, length });
    use!.node ??= new ObjectNode(named as GlobalRef, NO_ARGUMENTS);
    return use!.node;
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

  /** Whether a NumPy type holds Python objects, or is made in a way that does not tell. */
  #holdsObjects(type: PickleValue | undefined): boolean {
    if (!(type instanceof ObjectNode)) return false;
    const [made] = type.args.items;
    if (this.#objectTypes.has(type)) return true;
    if (typeof made === "string") return /o/i.test(made);
    return !(made instanceof GlobalRef) || this.#pathOf(made) === "builtins.object";
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

/** A number of up to 20 digits. Without a pattern, whose call costs much where there are many storages. */
function isStorageKey(text: string): boolean {
  if (text.length < 1 || text.length > 20) return false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x30 || code > 0x39) return false;
  }
  return true;
}

/** Text, or the bytes that Python 2 wrote for it. */
export function textOf(value: PickleValue | undefined): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(value);
  return value instanceof PyBytes && value.bytes.length < 256
    ? String.fromCharCode(...value.bytes)
    : undefined;
}
