import { quote } from "../errors.ts";
import { conjugated, gathered, negated } from "./derive.ts";
import { MAX_RANK } from "./limits.ts";
import { PyDict, PyTuple } from "./pickle/containers.ts";
import type { PickleValue } from "./pickle/values.ts";
import { type StorageNode, TORCH_DTYPES, type TorchDtype } from "./storage.ts";
import {
  type AnyTensor,
  CompositeTensor,
  malformed,
  type ReadableTensor,
  RefusedTensor,
  type TensorLayout,
  TensorNode,
  unsupported,
} from "./tensor.ts";

/** Where the elements of a tensor lie: offset and strides in elements. */
export interface StridedParts {
  readonly storage: StorageNode;
  readonly torchDtype: TorchDtype;
  readonly offset: PickleValue | undefined;
  readonly size: PickleValue | undefined;
  readonly stride: PickleValue | undefined;
  /** `{"conj": True}`, `{"neg": True}`: the data in the file is not what the tensor says. */
  readonly metadata?: PickleValue | undefined;
}

/** The dtypes whose elements are pairs of another one's. */
const COMPLEX: ReadonlyMap<string, string> = new Map([
  ["complex128", "float64"],
  ["complex32", "float16"],
]);

/** Entries of a tensor's metadata, of which PyTorch writes two at most. */
const MAX_METADATA = 16;

/**
 * A strided tensor out of what the pickle says of it, checked; what PyTorch would resolve is resolved. Bytes of bool
 * beyond 0 and 1 stay as they are, as in PyTorch, for which they are all true.
 */
export function stridedTensor(parts: StridedParts): AnyTensor {
  const bits = lazyBits(parts.metadata);
  if (bits instanceof RefusedTensor) return bits;
  const { torchDtype } = parts;
  const half = COMPLEX.get(torchDtype.name);
  if (bits.conj && !half && torchDtype.name !== "complex64") {
    return malformed(`is conjugate and of the dtype ${torchDtype.name}`);
  }
  const place = placeOf(parts);
  if (place instanceof RefusedTensor) return place;
  if (half) return splitComplex(place, TORCH_DTYPES.get(half)!, bits);
  if (torchDtype.dtype === undefined) return unsupported(`has the dtype ${torchDtype.name}`);
  const layout = { ...place, dtype: torchDtype.dtype };
  const tensor = torchDtype.dtype === "F4" ? packedTensor(layout) : new TensorNode(layout);
  if (tensor instanceof RefusedTensor) return tensor;
  const conjugate = bits.conj ? conjugated(tensor) : tensor;
  return bits.neg ? negated(conjugate) : conjugate;
}

/** A tensor whose elements are integers with a meaning of their own, such as those of qint8. */
export function integerTensor(parts: StridedParts, integer: TorchDtype): TensorNode | RefusedTensor {
  const place = placeOf(parts);
  if (place instanceof RefusedTensor) return place;
  return new TensorNode({ ...place, torchDtype: integer, dtype: integer.dtype! });
}

/** The checked place, without the dtype of safetensors. */
function placeOf(parts: StridedParts): Omit<TensorLayout, "dtype"> | RefusedTensor {
  const { storage, torchDtype, offset } = parts;
  const shape = naturals(parts.size);
  const strides = naturals(parts.stride);
  if (!shape || !strides || !isNatural(offset)) {
    return malformed("has an offset, a size or a stride that is not made of non-negative ints");
  }
  if (shape.length !== strides.length)
    return malformed(`has ${shape.length} sizes and ${strides.length} strides`);
  const wrong = wrongShape(shape, torchDtype.bytes);
  if (wrong) return wrong;
  const empty = shape.includes(0);
  const last = shape.reduce((place, length, axis) => place + (length - 1) * strides[axis]!, offset);
  const room = Math.floor(storage.byteLength / torchDtype.bytes);
  if (!empty && last >= room) {
    return malformed(`ends at element ${last + 1} of storage ${quote(storage.key)}, which has ${room}`);
  }
  // PyTorch lets an empty tensor lie anywhere.
  const byteOffset = empty ? 0 : offset * torchDtype.bytes;
  return { storage, torchDtype, shape, strides, byteOffset };
}

/** The refusal of a shape that no tensor can have. */
export function wrongShape(shape: readonly number[], elementBytes: number): RefusedTensor | undefined {
  if (shape.length > MAX_RANK) return malformed(`has ${shape.length} dimensions`);
  // Zeros count as one: the sizes beside a zero must be sane too.
  const bits = shape.reduce((product, length) => product * Math.max(length, 1), elementBytes * 8);
  return Number.isSafeInteger(bits) ? undefined : malformed(`has an impossible size, ${shape.join(" x ")}`);
}

/** An element of float4_e2m1fn_x2 is two of F4, side by side in the last dimension. */
function packedTensor(layout: TensorLayout): ReadableTensor | RefusedTensor {
  const { shape, strides } = layout;
  const last = shape.length - 1;
  const pairs = shape[last];
  if (pairs === undefined) return unsupported("is a pair of 4-bit elements without a dimension");
  const doubled = [...shape.slice(0, last), 2 * pairs];
  if (pairs > 1 && strides[last] !== 1) {
    return gathered(new TensorNode({ ...layout, dtype: "U8" }), "F4", doubled);
  }
  return new TensorNode({
    ...layout,
    shape: doubled,
    strides: [...strides.slice(0, last).map((stride) => 2 * stride), 1],
  });
}

/** Real and imaginary parts as two tensors: every second number each. */
function splitComplex(
  place: Omit<TensorLayout, "dtype">,
  torchDtype: TorchDtype,
  { conj, neg }: LazyBits,
): CompositeTensor {
  const strides = place.strides.map((stride) => 2 * stride);
  const part = (byteOffset: number): TensorNode =>
    new TensorNode({ ...place, torchDtype, dtype: torchDtype.dtype!, strides, byteOffset });
  const empty = place.shape.includes(0);
  const real = part(place.byteOffset);
  const imaginary = part(place.byteOffset + (empty ? 0 : torchDtype.bytes));
  const parts = new Map<string, ReadableTensor>([
    [".real", neg ? (negated(real) as ReadableTensor) : real],
    [".imag", neg !== conj ? (negated(imaginary) as ReadableTensor) : imaginary],
  ]);
  const { name } = place.torchDtype;
  return new CompositeTensor("complex128", place.torchDtype, `of the dtype ${name}`, parts);
}

interface LazyBits {
  readonly conj: boolean;
  readonly neg: boolean;
}

function lazyBits(metadata: PickleValue | undefined): LazyBits | RefusedTensor {
  const bits = { conj: false, neg: false };
  if (metadata === undefined || metadata === null) return bits;
  if (!(metadata instanceof PyDict)) return malformed("has metadata that is not a dict");
  if (metadata.size > MAX_METADATA) return malformed(`has metadata of ${metadata.size} entries`);
  for (const [key, value] of metadata.entries()) {
    // PyTorch writes nothing but True, and sets the bit for False as well.
    if (value !== true || (key !== "conj" && key !== "neg")) {
      return unsupported(`is a lazy view (${typeof key === "string" ? quote(key) : "unknown"})`);
    }
    bits[key] = true;
  }
  return bits;
}

/** Whether a value is an int that is not negative. */
export function isNatural(value: PickleValue | undefined): value is number {
  return typeof value === "number" && value >= 0;
}

/** A tuple of ints that are not negative; no more than one beyond the dimensions that a tensor can have. */
export function naturals(value: PickleValue | undefined): readonly number[] | undefined {
  if (!(value instanceof PyTuple)) return undefined;
  const items = value.items.length <= MAX_RANK ? value.items : value.items.slice(0, MAX_RANK + 1);
  return items.every(isNatural) ? items : undefined;
}
