import { calledPath, numpyArray } from "./numpy-array.ts";
import { ObjectNode, PyTuple } from "./pickle/containers.ts";
import type { PickleValue } from "./pickle/values.ts";
import { MemoryStorage, StorageNode, TENSOR_CLASSES, TORCH_DTYPES } from "./storage.ts";
import { stridedTensor } from "./strided.ts";
import {
  type AnyTensor,
  CompositeTensor,
  DerivedTensor,
  malformed,
  RefusedTensor,
  TensorNode,
} from "./tensor.ts";

/** The classes of tensors that are made first and filled by their state. */
const PARAMETERS = [
  "torch.nn.parameter.Parameter",
  "torch.nn.parameter.Buffer",
  "torch.autograd.variable.Variable",
];

/** What an object was found to be, for the states that it had then. */
const found = new WeakMap<ObjectNode, { readonly states: number; readonly tensor: AnyTensor | undefined }>();

/** The tensor that a value of a pickle is, NumPy's arrays included; nothing for other values. */
export function tensorOf(value: PickleValue | undefined): AnyTensor | undefined {
  if (value instanceof ObjectNode) {
    const known = found.get(value);
    if (known?.states === value.states.length) return known.tensor;
    const tensor = filledTensor(value) ?? numpyArray(value);
    found.set(value, { states: value.states.length, tensor });
    return tensor;
  }
  return isTorchTensor(value) ? value : undefined;
}

/** Whether a value is a NumPy array. */
export function isArray(value: PickleValue): value is ObjectNode {
  return value instanceof ObjectNode && tensorOf(value) !== undefined && !isFilled(value);
}

/** Whether a value is a tensor of PyTorch's. */
export function isTensor(value: PickleValue): boolean {
  return isTorchTensor(value) || (value instanceof ObjectNode && isFilled(value));
}

function isTorchTensor(value: PickleValue | undefined): value is AnyTensor {
  return (
    value instanceof TensorNode ||
    value instanceof DerivedTensor ||
    value instanceof CompositeTensor ||
    value instanceof RefusedTensor
  );
}

function isFilled(node: ObjectNode): boolean {
  const path = calledPath(node);
  return path !== undefined && (TENSOR_CLASSES.has(path) || PARAMETERS.includes(path));
}

/** `FloatTensor()` with the state `(storage, offset, size, stride)`, `Parameter()` with `(tensor, …)`: before 0.2. */
function filledTensor(node: ObjectNode): AnyTensor | undefined {
  if (!isFilled(node)) return undefined;
  if (node.args.items.length > 0 || node.kwargs) return malformed("is made with the wrong arguments");
  const path = calledPath(node)!;
  const [state] = node.states;
  if (node.states.length > 1) return malformed("has several states");
  if (PARAMETERS.includes(path)) {
    const first = state instanceof PyTuple ? state.items[0] : undefined;
    // Only made before it, so there is no cycle.
    return isTorchTensor(first)
      ? first
      : (nested(first) ?? malformed("is a parameter of something that is not a tensor"));
  }
  const dtype = TENSOR_CLASSES.get(path) ?? TORCH_DTYPES.get("float32")!;
  if (state === undefined)
    return stridedTensor({
      storage: new MemoryStorage(new Uint8Array(0), dtype),
      torchDtype: dtype,
      offset: 0,
      size: new PyTuple([0]),
      stride: new PyTuple([1]),
    });
  const [storage, offset, size, stride] = state instanceof PyTuple ? state.items : [];
  if (!(state instanceof PyTuple) || state.items.length !== 4) return malformed("has a wrong state");
  if (!(storage instanceof StorageNode)) return malformed("has no storage");
  if (TENSOR_CLASSES.get(path) && storage.dtype !== dtype) {
    return malformed(`is of the class ${path} and has a storage of ${storage.dtype.name}`);
  }
  return stridedTensor({ storage, torchDtype: storage.dtype, offset, size, stride });
}

/** A tensor class inside a parameter: no deeper, so that a short pickle cannot make a long chain. */
function nested(value: PickleValue | undefined): AnyTensor | undefined {
  if (!(value instanceof ObjectNode)) return undefined;
  const path = calledPath(value);
  return path !== undefined && TENSOR_CLASSES.has(path) ? tensorOf(value) : undefined;
}
