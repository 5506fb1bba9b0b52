import { DTYPES, type Dtype, elementCount } from "../../dtype/dtype.ts";
import { contiguousStrides } from "../../view/view.ts";
import { PickleEncoder } from "./pickle-encoder.ts";
import { TORCH_TYPES } from "./torch-types.ts";

/** A tensor that is a storage of its own. */
export interface StoredTensor {
  /** The names under which it stands in the dict, one or more. */
  readonly names: readonly string[];
  readonly dtype: Dtype;
  /** As safetensors has it: elements of F4 are single ones here. */
  readonly shape: readonly number[];
}

/** The key of a storage: its place, in decimal. */
export function storageKey(index: number): string {
  return `${index}`;
}

/**
 * The pickle of a plain dict from names to tensors, byte for byte as torch.save writes it. Names of one tensor become
 * tensors over one storage, as tied weights are in a module's state_dict.
 */
export function pickleStateDict(tensors: readonly StoredTensor[]): Uint8Array {
  const entries = tensors.flatMap((tensor, index) => {
    return tensor.names.map((name) => ({ name, tensor, key: storageKey(index) }));
  });
  const pickle = new PickleEncoder();
  pickle.protocol(2);
  pickle.dict(entries, ({ name, tensor, key }) => {
    pickle.text(name);
    putTensor(pickle, tensor, key);
  });
  return pickle.finish();
}

/** `_rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict())`, or `_v3` with the dtype as a seventh argument. */
function putTensor(pickle: PickleEncoder, tensor: StoredTensor, key: string): void {
  const { dtype, storageClass } = TORCH_TYPES.get(tensor.dtype)!;
  const size = tensor.dtype === "F4" ? pairedShape(tensor.shape) : tensor.shape;
  pickle.global(`torch._utils ${storageClass === undefined ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2"}`);
  pickle.op("MARK");
  putStorage(pickle, tensor, storageClass, key);
  pickle.int(0);
  pickle.ints(size);
  pickle.ints(contiguousStrides(size));
  pickle.op("NEWFALSE");
  pickle.global("collections OrderedDict");
  pickle.op("EMPTY_TUPLE");
  pickle.op("REDUCE");
  pickle.memoize();
  if (storageClass === undefined) pickle.global(dtype);
  pickle.op("TUPLE");
  pickle.memoize();
  pickle.op("REDUCE");
  pickle.memoize();
}

/** The persistent id `("storage", class, key, "cpu", length)`. */
function putStorage(
  pickle: PickleEncoder,
  { names, dtype, shape }: StoredTensor,
  storageClass: string | undefined,
  key: string,
): void {
  pickle.op("MARK");
  pickle.sharedText("storage");
  pickle.global(storageClass ?? "torch.storage UntypedStorage");
  if (names.length > 1) pickle.sharedText(key);
  else pickle.text(key);
  pickle.sharedText("cpu");
  const elements = elementCount(shape);
  pickle.int(storageClass === undefined ? (elements * DTYPES[dtype].bits) / 8 : elements);
  pickle.op("TUPLE");
  pickle.memoize();
  pickle.op("BINPERSID");
}

/** The shape in elements of float4_e2m1fn_x2, each of which is two of F4 in the last dimension. */
function pairedShape(shape: readonly number[]): readonly number[] {
  return [...shape.slice(0, -1), shape.at(-1)! / 2];
}
