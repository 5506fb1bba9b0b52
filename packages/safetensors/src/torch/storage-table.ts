import { quote, SafetensorsError } from "../errors.ts";
import { classifyGlobal } from "./globals.ts";
import { PickleFault } from "./pickle/fault.ts";
import { GlobalRef, type PickleValue } from "./pickle/values.ts";
import { textOf } from "./python-bytes.ts";
import { STORAGE_CLASSES, StorageNode, type TorchDtype } from "./storage.ts";

/** The storages of a pickle, by their key. */
export class StorageTable {
  readonly #storages = new Map<string, StorageNode>();
  readonly #dtypes = new Map<PickleValue | undefined, TorchDtype>();

  /**
   * The one node for a key. PyTorch keeps the first one it meets, whatever the next one says, so they must agree.
   *
   * @throws `PickleFault` for what is no storage, `FORBIDDEN_GLOBAL` for a class that is none of storages
   */
  storage(
    storageClass: PickleValue | undefined,
    keyValue: PickleValue | undefined,
    length: PickleValue | undefined,
  ): StorageNode {
    const dtype = this.#dtypes.get(storageClass) ?? storageDtype(storageClass);
    this.#dtypes.set(storageClass, dtype);
    const key = storageKey(keyValue);
    if (!isLength(length, dtype.bytes)) throw new PickleFault(`storage ${key} has an impossible length`);
    let storage = this.#storages.get(key);
    if (storage === undefined) {
      storage = new StorageNode(key, dtype, length);
      this.#storages.set(key, storage);
    }
    if (storage.dtype !== dtype || storage.length !== length)
      throw new PickleFault(`storage ${key} is described in two ways`);
    return storage;
  }

  /** Whether a storage is one of these. */
  has(storage: StorageNode): boolean {
    return this.#storages.get(storage.key) === storage;
  }

  find(key: string): StorageNode | undefined {
    return this.#storages.get(key);
  }

  get size(): number {
    return this.#storages.size;
  }
}

/** The element type of a storage class. */
export function storageDtype(storageClass: PickleValue | undefined): TorchDtype {
  if (!(storageClass instanceof GlobalRef)) throw new PickleFault("a storage has no class");
  const { path } = classifyGlobal(storageClass.module, storageClass.name);
  const dtype = STORAGE_CLASSES.get(path);
  if (dtype) return dtype;
  throw new SafetensorsError("FORBIDDEN_GLOBAL", `${quote(path)} is not a storage class`, { global: path });
}

/** The key of a storage: a decimal number in text; followed by `.storage` in the constants of mobile modules. */
export function storageKey(value: PickleValue | undefined): string {
  const key = textOf(value);
  if (key !== undefined && /^[0-9]{1,20}(?:\.storage)?$/.test(key)) return key;
  throw new PickleFault("the key of a storage is not a number");
}

/** Whether it is a number of elements, so many that their bits can still be counted. */
export function isLength(length: PickleValue | undefined, elementBytes: number): length is number {
  return typeof length === "number" && length >= 0 && Number.isSafeInteger(length * elementBytes * 8);
}
