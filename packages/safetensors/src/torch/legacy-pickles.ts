import { quote, SafetensorsError } from "../errors.ts";
import { type PickleSurroundings, TorchInterpreter } from "./interpreter.ts";
import { PyDict, PyList, PyTuple } from "./pickle/containers.ts";
import { PickleFault } from "./pickle/fault.ts";
import { type PickleResult, runPickle } from "./pickle/machine.ts";
import { PickleNode, type PickleValue } from "./pickle/values.ts";
import { textOf } from "./python-bytes.ts";
import type { Steps } from "./steps.ts";
import { StorageNode } from "./storage.ts";
import { isLength, StorageTable, storageKey } from "./storage-table.ts";

/** The first two pickles: a magic number, and the version of the format. */
const MAGIC_NUMBER = 0x1950a86a20f9469cfc6cn;
const PROTOCOL_VERSION = 1001;

/** The pickles of a legacy file: magic number, version, the machine it was written on, the object, the storages' keys. */
export const LEGACY_PICKLES = 5;

/** What the pickles of a legacy file say. */
export interface LegacyPickles {
  readonly object: PickleResult;
  /** The storages in the order of the file. */
  readonly storages: readonly StorageNode[];
  /** Storages that are parts of others. */
  readonly views: readonly StorageView[];
  /** The byte after the last pickle. */
  readonly end: number;
}

/** A storage that is a part of another one, as PyTorch wrote them until 0.4. */
export interface StorageView {
  readonly storage: StorageNode;
  readonly root: StorageNode;
  /** Bytes from the start of the other storage. */
  readonly byteOffset: number;
}

/** Runs the pickles at the start of a legacy file. */
export function* runLegacyPickles(
  bytes: Uint8Array,
  { loadBytes }: Pick<PickleSurroundings, "loadBytes">,
): Steps<LegacyPickles> {
  const ids = new LegacyIds();
  const outside: PickleSurroundings = { loadBytes, persistentLoad: noPersistentId };
  function* plain(start: number, what: string): Steps<PickleResult> {
    const result = yield* runPickle(bytes, new TorchInterpreter(bytes.length, outside), start);
    if (result.globals.length === 0) return result;
    throw invalid(`the pickle of ${what} names ${quote(result.globals[0]!.path)}`, start);
  }
  const magic = yield* plain(0, "the magic number");
  if (!isLiteral(magic, MAGIC_NUMBER)) throw invalid("the magic number is not that of PyTorch", 0);
  const version = yield* plain(magic.end, "the format's version");
  if (!isLiteral(version, PROTOCOL_VERSION)) {
    throw invalid(`the format's version is not the number ${PROTOCOL_VERSION}`, magic.end);
  }
  const machine = yield* plain(version.end, "the machine");
  if (!(machine.value instanceof PyDict))
    throw invalid("the machine is not described by a dict", version.end);
  const interpreter = new TorchInterpreter(bytes.length, {
    loadBytes,
    persistentLoad: (id) => ids.load(id),
  });
  const object = yield* runPickle(bytes, interpreter, machine.end);
  const keys = yield* plain(object.end, "the storages' keys");
  const storages = faultsAt(object.end, () => ids.inOrder(keys.value));
  return { object, storages, views: [...ids.views.values()], end: keys.end };
}

/** Nothing but the number: a first opcode that may announce protocol and frame, the number, STOP. */
function isLiteral({ value, opcodes }: PickleResult, number: number | bigint): boolean {
  return value === number && opcodes <= 4;
}

/** The persistent ids of legacy files. */
class LegacyIds {
  readonly views = new Map<string, StorageView>();
  readonly #storages = new StorageTable();

  /** `("storage", class, key, location, length, view)`, or `("module", class, file, source)` for the class. */
  load(id: PickleValue): PickleValue {
    const parts = id instanceof PyTuple ? id.items : [];
    const [kind, first, key, , length, view] = parts;
    if (textOf(kind) === "module" && parts.length === 4 && first instanceof PickleNode) return first;
    if (textOf(kind) !== "storage" || parts.length !== 6) {
      throw new PickleFault("a persistent id is neither that of a storage nor that of a module");
    }
    const root = this.#storages.storage(first, key, length);
    return view === null ? root : this.#view(root, view);
  }

  /** `(key, offset, length)` in elements: a part of a storage. */
  #view(root: StorageNode, description: PickleValue | undefined): StorageNode {
    const parts = description instanceof PyTuple ? description.items : [];
    const [keyValue, offset, length] = parts;
    const { bytes } = root.dtype;
    if (parts.length !== 3 || !isLength(offset, bytes) || !isLength(length, bytes)) {
      throw new PickleFault(`a view of storage ${root.key} is not described by key, offset and length`);
    }
    const key = storageKey(keyValue);
    if (offset + length > root.length) throw new PickleFault(`view ${key} ends behind storage ${root.key}`);
    const byteOffset = offset * bytes;
    let view = this.views.get(key);
    if (view === undefined) {
      view = { storage: new StorageNode(key, root.dtype, length), root, byteOffset };
      this.views.set(key, view);
    }
    if (view.root !== root || view.byteOffset !== byteOffset || view.storage.length !== length) {
      throw new PickleFault(`view ${key} is described in two ways`);
    }
    return view.storage;
  }

  /** The storages by the list of their keys: each is there once, and no other. */
  inOrder(keys: PickleValue): StorageNode[] {
    if (!(keys instanceof PyList)) throw new PickleFault("the storages' keys are not a list");
    const storages = new Set<StorageNode>();
    for (const item of keys.items) {
      const key = storageKey(item);
      const storage = this.#storages.find(key);
      if (!storage) throw new PickleFault(`storage ${key} is in the file, but not in the pickle`);
      if (storages.has(storage)) throw new PickleFault(`storage ${key} is there twice`);
      storages.add(storage);
    }
    const missing = this.#storages.size - storages.size;
    if (missing > 0) throw new PickleFault(`${missing} storages of the pickle are not in the file`);
    for (const key of this.views.keys()) {
      if (this.#storages.find(key)) throw new PickleFault(`storage ${key} is also a view`);
    }
    return [...storages];
  }
}

/** For pickles outside of which there is nothing. */
export function noPersistentId(): never {
  throw new PickleFault("a persistent id refers to something outside of the pickle");
}

function faultsAt<T>(at: number, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw error instanceof PickleFault ? invalid(error.message, at) : error;
  }
}

function invalid(reason: string, at: number): SafetensorsError {
  return new SafetensorsError("INVALID_PICKLE", `legacy PyTorch file: ${reason}`, { at });
}
