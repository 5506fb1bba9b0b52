import { quote } from "../errors.ts";
import { classifyGlobal } from "./globals.ts";
import { MAX_RANK } from "./limits.ts";
import { ObjectNode, PyDict, PyTuple } from "./pickle/containers.ts";
import { GlobalRef, type PickleValue } from "./pickle/values.ts";
import { StorageNode, TORCH_DTYPES, type TorchDtype } from "./storage.ts";
import { RefusedTensor, type TensorLayout, TensorNode } from "./tensor.ts";

type Arguments = readonly PickleValue[];
type Rebuilt = TensorNode | RefusedTensor;

/**
 * PyTorch's functions that make tensors, each as a function from the arguments in the pickle to a description of the
 * tensor. None of them throws: what is wrong becomes a `RefusedTensor`, so that the error can name the tensor.
 */
export const REBUILD_CALLS: ReadonlyMap<string, (args: Arguments) => Rebuilt> = new Map([
  ["torch._utils._rebuild_tensor", rebuildTensor],
  ["torch._utils._rebuild_tensor_v2", rebuildTensorV2],
  ["torch._utils._rebuild_tensor_v3", rebuildTensorV3],
  ["torch._utils._rebuild_parameter", rebuildParameter],
  ["torch._utils._rebuild_parameter_with_state", rebuildParameter],
  ["torch.nn.parameter.Parameter", rebuildParameter],
  ["torch.nn.parameter.Buffer", rebuildParameter],
  ["torch._tensor._rebuild_from_type_v2", rebuildFromType],
  ["torch._utils._rebuild_device_tensor_from_cpu_tensor", rebuildFromCpuTensor],
  ["torch._utils._rebuild_qtensor", () => unsupported("is quantized")],
  ["torch._utils._rebuild_sparse_tensor", () => unsupported("is sparse")],
  ["torch._utils._rebuild_sparse_csr_tensor", () => unsupported("is sparse")],
  ["torch._utils._rebuild_nested_tensor", () => unsupported("is a nested tensor")],
  ["torch._utils._rebuild_meta_tensor_no_storage", () => unsupported("is a meta tensor, which has no data")],
  ["torch._utils._rebuild_wrapper_subclass", () => unsupported("is a wrapper around other tensors")],
  ["torch._utils._rebuild_device_tensor_from_numpy", () => unsupported("is stored as a NumPy array")],
  ["torch._utils._rebuild_xla_tensor", () => unsupported("is stored as a NumPy array")],
]);

/** `(storage, offset, size, stride)` */
function rebuildTensor(args: Arguments): Rebuilt {
  if (args.length !== 4) return malformed("has the wrong number of arguments");
  return stridedTensor(args, undefined);
}

/** `(storage, offset, size, stride, requires_grad, hooks[, metadata])` */
function rebuildTensorV2(args: Arguments): Rebuilt {
  if (args.length !== 6 && args.length !== 7) return malformed("has the wrong number of arguments");
  return lazyView(args[6]) ?? stridedTensor(args, undefined);
}

/** `(storage, offset, size, stride, requires_grad, hooks, dtype[, metadata])`, over a storage that counts bytes. */
function rebuildTensorV3(args: Arguments): Rebuilt {
  if (args.length !== 7 && args.length !== 8) return malformed("has the wrong number of arguments");
  const dtype = dtypeOf(args[6]!);
  if (!dtype) return malformed("has a dtype that is not one");
  return lazyView(args[7]) ?? stridedTensor(args, dtype);
}

/** `(tensor, …)`: a parameter is its tensor. */
function rebuildParameter(args: Arguments): Rebuilt {
  const [tensor] = args;
  if (tensor instanceof TensorNode || tensor instanceof RefusedTensor) return tensor;
  return builtElsewhere(tensor) ?? malformed("is a parameter of something that is not a tensor");
}

/** `(function, type, args, state)`: a tensor with attributes of its own, or of a subclass. */
function rebuildFromType(args: Arguments): Rebuilt {
  const [callable, type, inner] = args;
  if (
    args.length !== 4 ||
    !(callable instanceof GlobalRef && type instanceof GlobalRef && inner instanceof PyTuple)
  ) {
    return malformed("has the wrong arguments");
  }
  const typePath = classifyGlobal(type.module, type.name).path;
  if (typePath !== "torch.Tensor" && typePath !== "torch.nn.parameter.Parameter") {
    return unsupported(`is of the class ${quote(typePath)}`);
  }
  const rebuild = REBUILD_CALLS.get(classifyGlobal(callable.module, callable.name).path);
  if (!rebuild) return forbidden(callable.path);
  if (rebuild === rebuildFromType) return malformed("is rebuilt from a type twice");
  return rebuild(inner.items);
}

/** `(tensor, dtype, device, requires_grad)`: the data lay on another device, and may have had another dtype there. */
function rebuildFromCpuTensor(args: Arguments): Rebuilt {
  const tensor = rebuildParameter(args);
  if (tensor instanceof RefusedTensor) return tensor;
  return dtypeOf(args[1] ?? null) === tensor.layout.torchDtype
    ? tensor
    : unsupported("is stored in another dtype");
}

function stridedTensor(args: Arguments, ownDtype: TorchDtype | undefined): Rebuilt {
  const [storage, offset, size, stride] = args;
  if (!(storage instanceof StorageNode)) return builtElsewhere(storage) ?? malformed("has no storage");
  if (ownDtype && storage.dtype.bytes !== 1) return malformed("has a dtype and a typed storage");
  const torchDtype = ownDtype ?? storage.dtype;
  const shape = naturals(size);
  const strides = naturals(stride);
  if (!shape || !strides || !isNatural(offset)) {
    return malformed("has an offset, a size or a stride that is not made of non-negative ints");
  }
  if (shape.length !== strides.length)
    return malformed(`has ${shape.length} sizes and ${strides.length} strides`);
  if (shape.length > MAX_RANK) return malformed(`has ${shape.length} dimensions`);
  // Zeros count as one: the sizes beside a zero must be sane too.
  const bits = shape.reduce((product, length) => product * Math.max(length, 1), torchDtype.bytes * 8);
  if (!Number.isSafeInteger(bits)) return malformed(`has an impossible size, ${shape.join(" x ")}`);

  const empty = shape.includes(0);
  const last = shape.reduce((place, length, axis) => place + (length - 1) * strides[axis]!, offset);
  const room = Math.floor(storage.byteLength / torchDtype.bytes);
  if (!empty && last >= room) {
    return malformed(`ends at element ${last + 1} of storage ${quote(storage.key)}, which has ${room}`);
  }
  if (torchDtype.dtype === undefined) return unsupported(`has the dtype ${torchDtype.name}`);
  // PyTorch lets an empty tensor lie anywhere.
  const byteOffset = empty ? 0 : offset * torchDtype.bytes;
  const layout = { storage, torchDtype, dtype: torchDtype.dtype, shape, strides, byteOffset };
  return torchDtype.dtype === "F4" ? packedTensor(layout) : new TensorNode(layout);
}

/** An element of float4_e2m1fn_x2 is two of F4, side by side in the last dimension. */
function packedTensor(layout: TensorLayout): Rebuilt {
  const { shape, strides } = layout;
  const last = shape.length - 1;
  const pairs = shape[last];
  if (pairs === undefined) return unsupported("is a pair of 4-bit elements without a dimension");
  if (pairs > 1 && strides[last] !== 1) return unsupported("is a strided view of 4-bit elements");
  return new TensorNode({
    ...layout,
    shape: [...shape.slice(0, last), 2 * pairs],
    strides: [...strides.slice(0, last).map((stride) => 2 * stride), 1],
  });
}

/** Conjugate and negative views: the data in the file is not what the tensor says. */
function lazyView(metadata: PickleValue | undefined): RefusedTensor | undefined {
  if (metadata === undefined || metadata === null) return undefined;
  if (!(metadata instanceof PyDict)) return malformed("has metadata that is not a dict");
  for (const [key, value] of metadata.entries()) {
    if (value !== false)
      return unsupported(`is a lazy view (${typeof key === "string" ? quote(key) : "unknown"})`);
  }
  return undefined;
}

/** The refusal of what an unknown call was to make. */
function builtElsewhere(value: PickleValue | undefined): RefusedTensor | undefined {
  if (!(value instanceof ObjectNode)) return undefined;
  return forbidden(value.callable instanceof GlobalRef ? value.callable.path : "the result of another call");
}

function dtypeOf(value: PickleValue): TorchDtype | undefined {
  return value instanceof GlobalRef && value.module === "torch" ? TORCH_DTYPES.get(value.name) : undefined;
}

function isNatural(value: PickleValue | undefined): value is number {
  return typeof value === "number" && value >= 0;
}

function naturals(value: PickleValue | undefined): readonly number[] | undefined {
  return value instanceof PyTuple && value.items.every(isNatural)
    ? (value.items as readonly number[])
    : undefined;
}

function malformed(reason: string): RefusedTensor {
  return new RefusedTensor("INVALID_TENSOR", reason);
}

function unsupported(reason: string): RefusedTensor {
  return new RefusedTensor("UNSUPPORTED", reason);
}

function forbidden(path: string): RefusedTensor {
  return new RefusedTensor("FORBIDDEN_GLOBAL", `needs ${quote(path)}, which is not on the allow-list`, path);
}
