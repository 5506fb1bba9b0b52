import { fromBytes } from "../../src/source/memory.ts";
import { openTorch, type TorchCheckpoint } from "../../src/torch/index.ts";
import { buildZip, type Member } from "../zip/zip-builder.ts";
import { assemble, name, uint } from "./pickle/assembler.ts";

const encoder = new TextEncoder();

/** What is in an archive, by record name; text stands for its bytes, and nothing for a record that is left out. */
export type Records = Readonly<Record<string, Uint8Array | string | undefined>>;

/** A PyTorch file with these records in its folder, and those that each has unless they are given. */
export function torchFile(
  records: Records,
  root = "model",
  extra: readonly Member[] = [],
): Uint8Array<ArrayBuffer> {
  const all = Object.entries({ byteorder: "little", version: "3\n", ...records }).flatMap(([record, data]) =>
    data === undefined
      ? []
      : [{ name: `${root}/${record}`, data: typeof data === "string" ? encoder.encode(data) : data }],
  );
  return buildZip([...all, ...extra], { zip64: true });
}

/** A file whose pickle holds one value, with storages of zeros of the given lengths in bytes. */
export function pickleFile(
  value: Uint8Array,
  storages: readonly number[] = [48, 48],
): Uint8Array<ArrayBuffer> {
  const records = Object.fromEntries(
    storages.map((length, index) => [`data/${index}`, new Uint8Array(length)]),
  );
  return torchFile({ "data.pkl": assemble("PROTO", 2, value, "STOP"), ...records });
}

/** Opens such a file. */
export function openPickle(value: Uint8Array, key?: string): Promise<TorchCheckpoint> {
  return openTorch(fromBytes(pickleFile(value)), { key });
}

/** A value as pickle opcodes: None, ints, text, lists, dicts (Map for other keys); opcodes stay as they are. */
export type Plain =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | readonly Plain[]
  | Map<Plain, Plain>
  | { [key: string]: Plain };

/** The opcodes that push a value. */
export function push(value: Plain): Uint8Array<ArrayBuffer> {
  if (value === null) return assemble("NONE");
  if (typeof value === "boolean") return assemble(value ? "NEWTRUE" : "NEWFALSE");
  if (typeof value === "number") return pushInt(value);
  if (typeof value === "string") {
    const bytes = encoder.encode(value);
    return assemble("BINUNICODE", uint(4, bytes.length), bytes);
  }
  if (value instanceof Uint8Array) return assemble(value);
  if (Array.isArray(value)) return assemble("EMPTY_LIST", "MARK", ...value.map(push), "APPENDS");
  const entries = value instanceof Map ? [...value] : Object.entries(value as { [key: string]: Plain });
  return assemble(
    "EMPTY_DICT",
    "MARK",
    ...entries.flatMap(([key, item]) => [push(key), push(item)]),
    "SETITEMS",
  );
}

function pushInt(value: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(10);
  new DataView(bytes.buffer).setBigInt64(2, BigInt(value), true);
  bytes.set(assemble("LONG1", 8));
  return bytes;
}

export function tuple(...items: readonly Plain[]): Uint8Array<ArrayBuffer> {
  return assemble("MARK", ...items.map(push), "TUPLE");
}

/** `path(*args)`, where the path is split at its last dot. */
export function call(path: string, ...args: readonly Plain[]): Uint8Array<ArrayBuffer> {
  return assemble(global(path), tuple(...args), "REDUCE");
}

export function global(path: string): Uint8Array<ArrayBuffer> {
  const dot = path.lastIndexOf(".");
  return name(path.slice(0, dot), path.slice(dot + 1));
}

/** A storage: the persistent id with class, key and length. */
export function storage(
  className = "torch.FloatStorage",
  key: Plain = "0",
  length: Plain = 12,
): Uint8Array<ArrayBuffer> {
  return assemble(tuple("storage", global(className), key, "cpu", length), "BINPERSID");
}

interface TensorParts {
  readonly storage?: Plain;
  readonly offset?: Plain;
  readonly size?: readonly Plain[];
  readonly stride?: readonly Plain[];
}

/** A tensor as torch.save writes it; of shape [3, 4] in storage 0 unless said otherwise. */
export function tensor(parts: TensorParts = {}): Uint8Array<ArrayBuffer> {
  return call("torch._utils._rebuild_tensor_v2", ...strided(parts), false, call("collections.OrderedDict"));
}

/** The same over an untyped storage, with a dtype. */
export function tensorV3(dtype: string, parts: TensorParts = {}): Uint8Array<ArrayBuffer> {
  const untyped = { storage: storage("torch.storage.UntypedStorage", "0", 48), ...parts };
  return call("torch._utils._rebuild_tensor_v3", ...strided(untyped), false, null, global(`torch.${dtype}`));
}

export function strided(parts: TensorParts = {}): Plain[] {
  return [
    parts.storage ?? storage(),
    parts.offset ?? 0,
    tuple(...(parts.size ?? [3, 4])),
    tuple(...(parts.stride ?? [4, 1])),
  ];
}
