import type { Dtype } from "../dtype/dtype.ts";
import { byteSwapped } from "../source/byte-swapped.ts";
import { fromBytes } from "../source/memory.ts";
import type { ByteSource } from "../source/source.ts";
import { PickleNode } from "./pickle/values.ts";

/** An element type of PyTorch. */
export interface TorchDtype {
  /** Its name in the module `torch`. */
  readonly name: string;
  /** Bytes of one element. */
  readonly bytes: number;
  /** Its counterpart; none for types that a safetensors file cannot hold. */
  readonly dtype: Dtype | undefined;
}

const row = (name: string, bytes: number, dtype?: Dtype): [string, TorchDtype] => [
  name,
  { name, bytes, dtype },
];

/** The dtypes, by their name in the module `torch`. */
export const TORCH_DTYPES: ReadonlyMap<string, TorchDtype> = new Map([
  row("float64", 8, "F64"),
  row("float32", 4, "F32"),
  row("float16", 2, "F16"),
  row("bfloat16", 2, "BF16"),
  row("int64", 8, "I64"),
  row("int32", 4, "I32"),
  row("int16", 2, "I16"),
  row("int8", 1, "I8"),
  row("uint64", 8, "U64"),
  row("uint32", 4, "U32"),
  row("uint16", 2, "U16"),
  row("uint8", 1, "U8"),
  row("bool", 1, "BOOL"),
  row("complex64", 8, "C64"),
  row("float8_e5m2", 1, "F8_E5M2"),
  row("float8_e4m3fn", 1, "F8_E4M3"),
  row("float8_e5m2fnuz", 1, "F8_E5M2FNUZ"),
  row("float8_e4m3fnuz", 1, "F8_E4M3FNUZ"),
  row("float8_e8m0fnu", 1, "F8_E8M0"),
  row("float4_e2m1fn_x2", 1, "F4"),
  row("complex128", 16),
  row("complex32", 4),
  row("qint8", 1),
  row("quint8", 1),
  row("qint32", 4),
  row("quint4x2", 1),
  row("quint2x4", 1),
  row("bits8", 1),
  row("bits16", 2),
  row("bits1x8", 1),
  row("bits2x4", 1),
  row("bits4x2", 1),
  ...[1, 2, 3, 4, 5, 6, 7].flatMap((bits) => [row(`int${bits}`, 1), row(`uint${bits}`, 1)]),
]);

/** The dtype of each storage class of the modules `torch` and `torch.cuda`. */
export const TYPED_STORAGES = {
  DoubleStorage: "float64",
  FloatStorage: "float32",
  HalfStorage: "float16",
  BFloat16Storage: "bfloat16",
  LongStorage: "int64",
  IntStorage: "int32",
  ShortStorage: "int16",
  CharStorage: "int8",
  ByteStorage: "uint8",
  BoolStorage: "bool",
  ComplexFloatStorage: "complex64",
  ComplexDoubleStorage: "complex128",
  QInt8Storage: "qint8",
  QUInt8Storage: "quint8",
  QInt32Storage: "qint32",
  QUInt4x2Storage: "quint4x2",
  QUInt2x4Storage: "quint2x4",
};

/**
 * The storage classes, by their path. Untyped storages count bytes; a tensor that has no dtype of its own is uint8.
 * TorchScript has a class for every dtype, with the name of the dtype in C++ (c10/core/ScalarType.h).
 */
export const STORAGE_CLASSES: ReadonlyMap<string, TorchDtype> = new Map([
  ...Object.entries(TYPED_STORAGES).flatMap(([name, dtype]) =>
    ["torch", "torch.cuda"].map((module) => [`${module}.${name}`, TORCH_DTYPES.get(dtype)!] as const),
  ),
  ...["torch.UntypedStorage", "torch.storage.UntypedStorage", "torch.storage._UntypedStorage"].map(
    (path) => [path, TORCH_DTYPES.get("uint8")!] as const,
  ),
  ...Array.from(TORCH_DTYPES.values())
    .filter(({ name }) => !Object.values(TYPED_STORAGES).includes(name))
    .map((dtype) => [`torch.${nameInCpp(dtype.name)}Storage`, dtype] as const),
]);

/** Of the dtypes without a storage class in Python: `uint16` is `UInt16`, `float8_e5m2` is `Float8_e5m2`. */
function nameInCpp(name: string): string {
  if (name === "complex32") return "ComplexHalf";
  return name.replace(/^uint|^[a-z]/, (start) => (start === "uint" ? "UInt" : start.toUpperCase()));
}

/**
 * The tensor classes of PyTorch before it had one for all, by their path, with their dtypes; none for today's
 * `torch.Tensor`, whose dtype is that of its storage.
 */
export const TENSOR_CLASSES: ReadonlyMap<string, TorchDtype | undefined> = new Map([
  ["torch.Tensor", undefined],
  ...Object.entries(TYPED_STORAGES).flatMap(([name, dtype]) =>
    ["torch", "torch.cuda"].map(
      (module) => [`${module}.${name.replace("Storage", "Tensor")}`, TORCH_DTYPES.get(dtype)] as const,
    ),
  ),
]);

/** A storage that the pickle refers to: the record `data/<key>` of the archive. */
export class StorageNode extends PickleNode {
  readonly key: string;
  readonly dtype: TorchDtype;
  /** Number of elements of that dtype. */
  readonly length: number;

  constructor(key: string, dtype: TorchDtype, length: number) {
    super();
    this.key = key;
    this.dtype = dtype;
    this.length = length;
  }

  get kind(): string {
    return "storage";
  }

  get byteLength(): number {
    return this.length * this.dtype.bytes;
  }
}

/** Elements that lie in the pickle itself, or were made from numbers there. */
export class MemoryStorage extends StorageNode {
  readonly source: ByteSource;

  /** @param swappedBytes bytes of the numbers whose bytes are in the wrong order, big-endian; 0 where they are not. */
  constructor(bytes: Uint8Array, dtype: TorchDtype, swappedBytes: number = 0) {
    super("in the pickle", dtype, Math.floor(bytes.length / dtype.bytes));
    const memory = fromBytes(bytes, "the pickle");
    this.source = swappedBytes > 1 ? byteSwapped(memory, swappedBytes, 0, bytes.length) : memory;
  }
}
