import { quote, SafetensorsError } from "../errors.ts";
import { readExactly } from "../source/read-into.ts";
import type { ByteSource } from "../source/source.ts";
import { COUNT_BYTES, countAt } from "./counts.ts";
import type { OpenTools, StoragePlace, TorchFile } from "./file.ts";
import { type PickleSurroundings, TorchInterpreter } from "./interpreter.ts";
import { noPersistentId } from "./legacy-pickles.ts";
import { MAX_RANK, MAX_TAR_OBJECTS } from "./limits.ts";
import { PyList, PyTuple } from "./pickle/containers.ts";
import { PickleFault } from "./pickle/fault.ts";
import { type PickleResult, runPickle } from "./pickle/machine.ts";
import { PickleNode, type PickleValue } from "./pickle/values.ts";
import { textOf } from "./python-bytes.ts";
import { REBUILD_CALLS } from "./rebuild.ts";
import { readPickles } from "./stacked.ts";
import { steadily } from "./steps.ts";
import { StorageNode } from "./storage.ts";
import { isLength, storageDtype } from "./storage-table.ts";
import { type TarMember, tarMembers } from "./tar.ts";
import { limitError } from "./walk.ts";

/**
 * Opens a file as PyTorch wrote it until 0.1.9: a tar archive of `storages`, `tensors` and `pickle`, which refers to them
 * by number.
 *
 * @throws `INVALID_ARCHIVE`, `INVALID_PICKLE`, `UNSUPPORTED` for other tar archives, `LIMIT_EXCEEDED`
 */
export async function openTarFile(source: ByteSource, tools: OpenTools): Promise<TorchFile> {
  const members = await tarMembers(source, tools);
  const [storages, tensors, pickle] = ["storages", "tensors", "pickle"].map((name) => members.get(name));
  if (!storages || !tensors || !pickle) {
    const text = "this is a tar archive, but not one of PyTorch: unpack it and open the file inside";
    throw new SafetensorsError("UNSUPPORTED", text, { kind: "tar" });
  }
  const objects = new TarObjects();
  await readMember(new MemberReader(source, "storages", storages, tools), objects, readStorages);
  await readMember(new MemberReader(source, "tensors", tensors, tools), objects, readTensors);
  const main = new MemberReader(source, "pickle", pickle, tools);
  const result = await readMember(main, objects, () => main.pickle((id) => objects.load(id)));
  return { container: "tar", root: "", pickle: result, placeOf: (storage) => objects.places.get(storage)! };
}

/** Reads a member, all of it. */
async function readMember<T>(
  reader: MemberReader,
  objects: TarObjects,
  read: (reader: MemberReader, objects: TarObjects) => Promise<T>,
): Promise<T> {
  try {
    const result = await read(reader, objects);
    if (reader.left > 0) throw new PickleFault("something follows its last part");
    return result;
  } catch (error) {
    if (!(error instanceof PickleFault)) throw error;
    const text = `the member ${quote(reader.name)} of the tar archive: ${error.message}`;
    throw new SafetensorsError("INVALID_ARCHIVE", text, { at: reader.at });
  }
}

/** Storages, their parts and tensors, by the number that stands for them. */
class TarObjects {
  readonly places = new Map<StorageNode, StoragePlace>();
  readonly #objects = new Map<string, PickleNode>();

  add(key: PickleValue | undefined, object: PickleNode): void {
    const id = objectKey(key);
    if (this.#objects.has(id)) throw new PickleFault(`two objects have the number ${id}`);
    this.#objects.set(id, object);
  }

  find(key: PickleValue | undefined): PickleNode {
    const id = objectKey(key);
    const object = this.#objects.get(id);
    if (object) return object;
    throw new PickleFault(`there is no object with the number ${id}`);
  }

  storage(key: PickleValue | undefined): StorageNode {
    const object = this.find(key);
    if (object instanceof StorageNode) return object;
    throw new PickleFault(`the object with the number ${objectKey(key)} is no storage`);
  }

  /** A number, or `(class, file, source)` for the class of a module. */
  load(id: PickleValue): PickleValue {
    if (!(id instanceof PyTuple)) return this.find(id);
    const [named] = id.items;
    if (id.items.length === 3 && named instanceof PickleNode) return named;
    throw new PickleFault("a persistent id is neither a number nor that of a module");
  }
}

/** A number of 64 bits, or its text. */
function objectKey(value: PickleValue | undefined): string {
  const text = typeof value === "number" || typeof value === "bigint" ? String(value) : textOf(value);
  if (text !== undefined && /^(?:0|-?[1-9][0-9]{0,19})$/.test(text)) return text;
  throw new PickleFault("the number of an object is not one");
}

/** Pickle of the count; for each its `(key, location, class)`, count of elements and data; then the list of parts. */
async function readStorages(reader: MemberReader, objects: TarObjects): Promise<void> {
  const count = await reader.count();
  for (let index = 0; index < count; index++) {
    const [key, , storageClass] = await reader.tuple(3);
    const dtype = storageDtype(storageClass);
    const length = countAt(await reader.view(COUNT_BYTES), 0);
    if (!isLength(length, dtype.bytes)) throw new PickleFault("a storage has an impossible length");
    const storage = new StorageNode(objectKey(key), dtype, length);
    objects.places.set(storage, { source: reader.source, offset: reader.at });
    reader.skip(storage.byteLength);
    objects.add(key, storage);
  }
  const { value: parts } = await reader.pickle(noPersistentId);
  if (!(parts instanceof PyList)) throw new PickleFault("the parts of storages are not a list");
  for (const part of parts.items) addPart(part, objects);
}

/** `(key, key of the whole, offset, length)`, in elements. */
function addPart(part: PickleValue, objects: TarObjects): void {
  const items = part instanceof PyTuple ? part.items : [];
  const [key, wholeKey, offset, length] = items;
  const whole = objects.storage(wholeKey);
  const { bytes } = whole.dtype;
  if (
    items.length !== 4 ||
    !isLength(offset, bytes) ||
    !isLength(length, bytes) ||
    offset + length > whole.length
  ) {
    throw new PickleFault("a part of a storage does not lie in it");
  }
  const storage = new StorageNode(objectKey(key), whole.dtype, length);
  const place = objects.places.get(whole)!;
  objects.places.set(storage, { source: place.source, offset: place.offset + offset * bytes });
  objects.add(key, storage);
}

/** Pickle of the count; for each its `(key, storage, class)`, rank, sizes, strides and offset. */
async function readTensors(reader: MemberReader, objects: TarObjects): Promise<void> {
  const rebuild = REBUILD_CALLS.get("torch._utils._rebuild_tensor")!;
  const count = await reader.count();
  for (let index = 0; index < count; index++) {
    const [key, storageId] = await reader.tuple(3);
    const storage = objects.storage(storageId);
    // The upper half of the rank is not looked at by PyTorch.
    const rank = (await reader.view(8)).getInt32(0, true);
    if (rank < 0 || rank > MAX_RANK) throw new PickleFault(`a tensor has ${rank} dimensions`);
    const view = await reader.view(8 * (2 * rank + 1));
    const numbers = Array.from({ length: 2 * rank + 1 }, (_, place) => signedAt(view, 8 * place));
    const size = new PyTuple(numbers.slice(0, rank));
    const stride = new PyTuple(numbers.slice(rank, 2 * rank));
    objects.add(key, rebuild([storage, numbers[2 * rank]!, size, stride])!);
  }
}

/** A signed number of 64 bits; where it is not exact, a bigint, as in pickles. */
function signedAt(view: DataView, at: number): number | bigint {
  const value = view.getBigInt64(at, true);
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

/** Reads a member from its start to its end. */
class MemberReader {
  readonly source: ByteSource;
  readonly name: string;
  readonly #end: number;
  readonly #tools: OpenTools;
  /** The next byte of the source. */
  at: number;

  constructor(source: ByteSource, name: string, { start, end }: TarMember, tools: OpenTools) {
    this.source = source;
    this.name = name;
    this.at = start;
    this.#end = end;
    this.#tools = tools;
  }

  get left(): number {
    return this.#end - this.at;
  }

  /** The next pickle. */
  async pickle(persistentLoad: PickleSurroundings["persistentLoad"]): Promise<PickleResult> {
    const bytes = await readPickles(this.source, this.at, this.#end, 1, this.#tools);
    const { loadBytes, signal } = this.#tools;
    const interpreter = new TorchInterpreter(bytes.length, { loadBytes, persistentLoad });
    const result = await steadily(runPickle(bytes, interpreter), signal);
    this.at += result.end;
    return result;
  }

  /** A pickle of a number. */
  async count(): Promise<number> {
    const { value } = await this.pickle(noPersistentId);
    if (typeof value !== "number" || value < 0)
      throw new PickleFault("it does not begin with the number of its parts");
    if (value > MAX_TAR_OBJECTS)
      throw limitError("MAX_TAR_OBJECTS", `${value} ${this.name} in a tar archive`);
    return value;
  }

  /** A pickle of a tuple with so many items. */
  async tuple(length: number): Promise<readonly PickleValue[]> {
    const { value } = await this.pickle(noPersistentId);
    if (value instanceof PyTuple && value.items.length === length) return value.items;
    throw new PickleFault(`one of its parts does not begin with a tuple of ${length}`);
  }

  async view(length: number): Promise<DataView> {
    const start = this.at;
    this.skip(length);
    const bytes = await readExactly(this.source, start, length, this.#tools);
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  skip(length: number): void {
    if (length > this.left) throw new PickleFault(`${length} bytes are announced, ${this.left} remain`);
    this.at += length;
  }
}
