import { quote } from "../../errors.ts";
import { classifyGlobal, type KnownGlobal } from "../globals.ts";
import { ObjectNode, PyBytes, PyDict, PyTuple } from "../pickle/containers.ts";
import { PickleFault } from "../pickle/fault.ts";
import type { PickleHooks } from "../pickle/hooks.ts";
import { GlobalRef, PickleNode, type PickleValue } from "../pickle/values.ts";
import { STORAGE_CLASSES, type TorchDtype } from "../storage.ts";
import { type ArrayPlace, arrayPlace } from "./joblib.ts";
import type { Draft } from "./report.ts";

/** Encodings in which pickles of Python 2 and old protocols write bytes. */
const CODECS = new Set(["latin1", "latin-1", "utf-8", "utf8", "ascii"]);

/** Classes of models. Pickles make their objects without the constructors, some of which read files and run code. */
const MODEL_CLASS = /^(?:torch\.nn\.(?:modules|parallel)|torchvision|timm|ultralytics)\./;

/** What makes as many items as its argument says. */
const CONTAINERS = new Set([
  ..."bytearray bytes list tuple set frozenset dict".split(" ").map((name) => `builtins.${name}`),
  "collections.deque",
]);

/** A storage that a pickle refers to. */
export interface StorageUse {
  readonly dtype: TorchDtype;
  /** Number of elements. */
  readonly length: number;
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
  /** Arguments of `torch.storage._load_from_bytes`: bytes, or text that stands for bytes of the same numbers. */
  readonly loaded: (Uint8Array | string)[] = [];
  /** Set when the pickle goes on after the bytes of an array. */
  array: ArrayPlace | undefined;
  #arraysToPass: number;

  /** @param arraysToPass arrays of joblib whose bytes are not there any more. */
  constructor(arraysToPass: number) {
    this.#arraysToPass = arraysToPass;
  }

  onGlobal(ref: GlobalRef): void {
    this.names.set(ref, classifyGlobal(ref.module, ref.name));
  }

  call(callable: GlobalRef, { items }: PyTuple): PickleValue | undefined {
    const { path, role } = this.names.get(callable)!;
    if (role === "inert" && MODEL_CLASS.test(path) && items.length > 0)
      this.#note("constructor-call", `runs the constructor of ${quote(path)} with arguments`, callable);
    if (CONTAINERS.has(path) && this.#isLarge(items[0]))
      this.#note("allocation", "takes as much memory as a number says", callable);
    switch (path) {
      case "torch.storage._load_from_bytes":
        this.#load(callable, items);
        return undefined;
      case "torch._tensor._rebuild_from_type_v2":
        if (!this.#isRebuild(items[0]))
          this.#note("indirect-load", "calls what is no function that makes a tensor", callable);
        return undefined;
      case "builtins.type":
        if (items.length !== 1) this.#note("made-class", "makes a class", callable);
        return undefined;
      case "_codecs.encode":
        if (!CODECS.has(String(items[1])) || items.length !== 2)
          this.#note("odd-codec", "decodes text with an unusual codec", callable);
        return undefined;
      case "joblib.numpy_pickle.NumpyArrayWrapper":
        return new ArrayWrapper();
      default:
        return undefined;
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
    const [kind, named, key, , length] = parts;
    if (textOf(kind) === "module" && named instanceof GlobalRef) return named;
    const dtype = named instanceof GlobalRef ? STORAGE_CLASSES.get(this.names.get(named)!.path) : undefined;
    const keyText = textOf(key);
    const isStorage =
      (parts.length === 5 || parts.length === 6) &&
      textOf(kind) === "storage" &&
      dtype !== undefined &&
      keyText !== undefined &&
      /^[0-9]{1,20}$/.test(keyText) &&
      typeof length === "number" &&
      length >= 0 &&
      Number.isSafeInteger(length * dtype.bytes);
    if (!isStorage) {
      this.drafts.push(["persistent-id", "refers to something outside of it that is no storage"]);
      return new ObjectNode(new GlobalRef("torch", "storage", 0), new PyTuple([]));
    }
    const known = this.storages.get(keyText);
    if (known && (known.dtype !== dtype || known.length !== length))
      this.drafts.push(["storage-size", `describes storage ${keyText} in two ways`]);
    if (!known) this.storages.set(keyText, { dtype, length });
    return new ObjectNode(named as GlobalRef, new PyTuple([]));
  }

  #load(callable: GlobalRef, items: readonly PickleValue[]): void {
    const [bytes] = items;
    if (items.length === 1 && bytes instanceof PyBytes) this.loaded.push(bytes.bytes);
    else if (items.length === 1 && bytes instanceof ObjectNode && this.#isEncodedText(bytes))
      this.loaded.push(bytes.args.items[0] as string);
    else this.#note("indirect-load", "loads another pickle from bytes that cannot be followed", callable);
  }

  #isEncodedText({ callable, args }: ObjectNode): boolean {
    const isEncode = callable instanceof GlobalRef && this.names.get(callable)?.path === "_codecs.encode";
    return isEncode && typeof args.items[0] === "string" && /^latin-?1$/.test(String(args.items[1]));
  }

  /** A number, or a range of numbers. */
  #isLarge(value: PickleValue | undefined): boolean {
    if (typeof value === "number" || typeof value === "bigint") return true;
    if (!(value instanceof ObjectNode) || !(value.callable instanceof GlobalRef)) return false;
    return this.names.get(value.callable)?.path === "builtins.range";
  }

  #isRebuild(value: PickleValue | undefined): boolean {
    const known = value instanceof GlobalRef ? this.names.get(value) : undefined;
    return known?.role === "interpreted" && known.path.startsWith("torch._utils._rebuild_");
  }

  #note(code: Draft[0], message: string, { at }: GlobalRef): void {
    this.drafts.push([code, message, { at }]);
  }
}

/** Text, or the bytes that Python 2 wrote for it. */
export function textOf(value: PickleValue | undefined): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(value);
  return value instanceof PyBytes && value.bytes.length < 256
    ? String.fromCharCode(...value.bytes)
    : undefined;
}
