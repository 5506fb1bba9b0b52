import { quote, SafetensorsError } from "../errors.ts";
import { classifyGlobal } from "./globals.ts";
import { MAX_PICKLE_OBJECTS } from "./limits.ts";
import { PyBytes, PyDict, PyTuple } from "./pickle/containers.ts";
import { PickleFault } from "./pickle/fault.ts";
import type { PickleHooks } from "./pickle/hooks.ts";
import { GlobalRef, type PickleNode, type PickleValue } from "./pickle/values.ts";
import { type CopyBudget, PYTHON_CALLS } from "./python-calls.ts";
import { REBUILD_CALLS } from "./rebuild.ts";
import { STORAGE_CLASSES, StorageNode, type TorchDtype } from "./storage.ts";

type Call = (args: readonly PickleValue[]) => PickleValue | undefined;

/**
 * What PyTorch's pickles mean: storages by persistent id, tensors by the calls of the allow-list. A name that no
 * checkpoint needs ends the reading at once.
 */
export class TorchInterpreter implements PickleHooks, CopyBudget {
  readonly #calls = new Map<GlobalRef, Call>();
  readonly #storageClasses = new Map<GlobalRef, TorchDtype>();
  readonly #storages = new Map<string, StorageNode>();
  #budget: number;

  constructor(pickleLength: number) {
    this.#budget = Math.min(pickleLength, MAX_PICKLE_OBJECTS);
  }

  onGlobal(ref: GlobalRef): void {
    const { path, role, reason } = classifyGlobal(ref.module, ref.name);
    if (role === "forbidden") {
      throw new SafetensorsError("FORBIDDEN_GLOBAL", `the file asks for ${quote(path)}, which ${reason}`, {
        global: path,
        at: ref.at,
      });
    }
    const python = PYTHON_CALLS.get(path);
    const call = python ? (args: readonly PickleValue[]) => python(args, this) : REBUILD_CALLS.get(path);
    if (call) this.#calls.set(ref, call);
    const dtype = STORAGE_CLASSES.get(path);
    if (dtype) this.#storageClasses.set(ref, dtype);
  }

  call(callable: GlobalRef, args: PyTuple): PickleValue | undefined {
    return this.#calls.get(callable)?.(args.items);
  }

  /** Attributes of a state dict (`_metadata`) are accepted and dropped. */
  build(target: PickleNode, state: PickleValue): boolean {
    const hasAttributes = target instanceof PyDict && target.type !== "dict";
    return hasAttributes && (state === null || state instanceof PyDict || state instanceof PyTuple);
  }

  /** `("storage", class, key, location, length)` */
  persistentLoad(id: PickleValue): PickleValue {
    const parts = id instanceof PyTuple ? id.items : [];
    const [kind, storageClass, keyValue, , length] = parts;
    if (parts.length !== 5 || textOf(kind) !== "storage") {
      throw new PickleFault("a persistent id is not that of a storage");
    }
    if (!(storageClass instanceof GlobalRef)) throw new PickleFault("a storage has no class");
    const dtype = this.#storageClasses.get(storageClass);
    if (!dtype) {
      const { path } = storageClass;
      throw new SafetensorsError("FORBIDDEN_GLOBAL", `${quote(path)} is not a storage class`, {
        global: path,
      });
    }
    const key = textOf(keyValue);
    if (key === undefined || !/^[0-9]{1,20}$/.test(key))
      throw new PickleFault("the key of a storage is not a number");
    if (typeof length !== "number" || length < 0 || !Number.isSafeInteger(length * dtype.bytes * 8)) {
      throw new PickleFault(`storage ${key} has an impossible length`);
    }
    return this.#storage(key, dtype, length);
  }

  spend(count: number): void {
    this.#budget -= count;
    if (this.#budget < 0) throw new PickleFault("its calls copy more values than it has bytes");
  }

  /** One node for each key. PyTorch keeps the first one it meets, whatever the next one says, so they must agree. */
  #storage(key: string, dtype: TorchDtype, length: number): StorageNode {
    let storage = this.#storages.get(key);
    if (storage === undefined) {
      storage = new StorageNode(key, dtype, length);
      this.#storages.set(key, storage);
    }
    if (storage.dtype !== dtype || storage.length !== length)
      throw new PickleFault(`storage ${key} is described in two ways`);
    return storage;
  }
}

/** Text, or the bytes that Python 2 wrote for it. */
function textOf(value: PickleValue | undefined): string | undefined {
  if (typeof value === "string") return value;
  return value instanceof PyBytes && value.bytes.length < 256
    ? String.fromCharCode(...value.bytes)
    : undefined;
}
