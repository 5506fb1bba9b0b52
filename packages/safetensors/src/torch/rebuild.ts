import { quote } from "../errors.ts";
import { asBfloat16 } from "./derive.ts";
import { classifyGlobal } from "./globals.ts";
import { ObjectNode, PyTuple } from "./pickle/containers.ts";
import { GlobalRef, type PickleValue } from "./pickle/values.ts";
import { rebuildQuantized } from "./quantized.ts";
import { rebuildSparse } from "./sparse.ts";
import { StorageNode, TORCH_DTYPES, type TorchDtype } from "./storage.ts";
import { stridedTensor } from "./strided.ts";
import { type AnyTensor, malformed, RefusedTensor, TensorNode, unsupported } from "./tensor.ts";
import { tensorOf } from "./tensor-of.ts";

type Arguments = readonly PickleValue[];

/**
 * PyTorch's functions that make tensors, each as a function from the arguments in the pickle to a description of the
 * tensor. None of them throws: what is wrong becomes a `RefusedTensor`, so that the error can name the tensor. What is
 * filled by a later state (see tensor-of.ts) gives nothing.
 */
export const REBUILD_CALLS: ReadonlyMap<string, (args: Arguments) => AnyTensor | undefined> = new Map<
  string,
  (args: Arguments) => AnyTensor | undefined
>([
  ["torch._utils._rebuild_tensor", rebuildTensor],
  ["torch._utils._rebuild_tensor_v2", rebuildTensorV2],
  ["torch._utils._rebuild_tensor_v3", rebuildTensorV3],
  ["torch._utils._rebuild_parameter", rebuildParameter],
  ["torch._utils._rebuild_parameter_with_state", rebuildParameter],
  ["torch.nn.parameter.Parameter", (args) => (args.length === 0 ? undefined : rebuildParameter(args))],
  ["torch.nn.parameter.Buffer", (args) => (args.length === 0 ? undefined : rebuildParameter(args))],
  ["torch._tensor._rebuild_from_type_v2", rebuildFromType],
  ["torch._utils._rebuild_device_tensor_from_cpu_tensor", rebuildFromCpuTensor],
  ["torch._utils._rebuild_device_tensor_from_numpy", rebuildFromNumpy],
  ["torch._utils._rebuild_xla_tensor", rebuildFromNumpy],
  ["torch._utils._rebuild_qtensor", rebuildQuantized],
  ["torch._utils._rebuild_sparse_tensor", rebuildSparse],
  ["torch._utils._rebuild_sparse_csr_tensor", rebuildSparse],
  ["torch._utils._rebuild_nested_tensor", () => unsupported("is a nested tensor")],
  ["torch._utils._rebuild_meta_tensor_no_storage", () => unsupported("is a meta tensor, which has no data")],
  ["torch._utils._rebuild_wrapper_subclass", rebuildWrapper],
]);

/** `(storage, offset, size, stride)` */
function rebuildTensor(args: Arguments): AnyTensor {
  if (args.length !== 4) return wrongCount();
  return overStorage(args, undefined, undefined);
}

/** `(storage, offset, size, stride, requires_grad, hooks[, metadata])` */
function rebuildTensorV2(args: Arguments): AnyTensor {
  if (args.length !== 6 && args.length !== 7) return wrongCount();
  return overStorage(args, undefined, args[6]);
}

/** `(storage, offset, size, stride, requires_grad, hooks, dtype[, metadata])`, over a storage that counts bytes. */
function rebuildTensorV3(args: Arguments): AnyTensor {
  if (args.length !== 7 && args.length !== 8) return wrongCount();
  const dtype = dtypeOf(args[6]);
  if (!dtype) return malformed("has a dtype that is not one");
  return overStorage(args, dtype, args[7]);
}

function overStorage(
  [storage, offset, size, stride]: Arguments,
  ownDtype: TorchDtype | undefined,
  metadata: PickleValue | undefined,
): AnyTensor {
  if (!(storage instanceof StorageNode)) return builtElsewhere(storage) ?? malformed("has no storage");
  if (ownDtype && storage.dtype.bytes !== 1) return malformed("has a dtype and a typed storage");
  return stridedTensor({ storage, torchDtype: ownDtype ?? storage.dtype, offset, size, stride, metadata });
}

/** `(tensor, …)`: a parameter is its tensor. */
function rebuildParameter([value]: Arguments): AnyTensor {
  return (
    tensorOf(value) ?? builtElsewhere(value) ?? malformed("is a parameter of something that is not a tensor")
  );
}

/** `(function, type, args, state)`: a tensor with attributes of its own, or of a subclass. */
function rebuildFromType(args: Arguments): AnyTensor {
  const [callable, type, inner] = args;
  if (
    args.length !== 4 ||
    !(callable instanceof GlobalRef && type instanceof GlobalRef && inner instanceof PyTuple)
  ) {
    return malformed("has the wrong arguments");
  }
  const typePath = classifyGlobal(type.module, type.name).path;
  if (!PLAIN_TYPES.has(typePath)) return unsupported(`is of the class ${quote(typePath)}`);
  const rebuild = REBUILD_CALLS.get(classifyGlobal(callable.module, callable.name).path);
  if (!rebuild) return forbidden(callable.path);
  if (rebuild === rebuildFromType) return malformed("is rebuilt from a type twice");
  return rebuild(inner.items) ?? wrongCount();
}

/** The types of tensors that are nothing but their data. */
const PLAIN_TYPES: ReadonlySet<string> = new Set([
  "torch.Tensor",
  "torch.nn.parameter.Parameter",
  "torch.nn.parameter.Buffer",
]);

/** `(class, dtype, size, …)`: the tensors inside, if there are any, are its attributes. */
function rebuildWrapper([type]: Arguments): AnyTensor {
  const path = type instanceof GlobalRef ? classifyGlobal(type.module, type.name).path : "an unknown class";
  return unsupported(`is of the class ${quote(path)}, a wrapper around other tensors`);
}

/** `(tensor, dtype, device, requires_grad)`: the data lay on another device, and may have had another dtype there. */
function rebuildFromCpuTensor(args: Arguments): AnyTensor {
  return withDtype(rebuildParameter(args), dtypeOf(args[1]));
}

/** `(array, dtype, device, requires_grad)` */
function rebuildFromNumpy([value, dtype]: Arguments): AnyTensor {
  const tensor = value instanceof ObjectNode ? tensorOf(value) : undefined;
  if (!tensor) return malformed("is made from something that is not a NumPy array");
  return withDtype(tensor, dtypeOf(dtype));
}

/** The tensor in the dtype that it had: NumPy has no bfloat16, so such tensors are stored as float32. */
function withDtype(tensor: AnyTensor, dtype: TorchDtype | undefined): AnyTensor {
  if (tensor instanceof RefusedTensor || tensor.torchDtype === dtype) return tensor;
  const isStoredBfloat16 =
    tensor instanceof TensorNode && tensor.dtype === "F32" && dtype?.name === "bfloat16";
  return isStoredBfloat16 ? asBfloat16(tensor) : unsupported("is stored in another dtype");
}

/** The refusal of what an unknown call was to make. */
function builtElsewhere(value: PickleValue | undefined): RefusedTensor | undefined {
  if (!(value instanceof ObjectNode)) return undefined;
  return forbidden(value.callable instanceof GlobalRef ? value.callable.path : "the result of another call");
}

function dtypeOf(value: PickleValue | undefined): TorchDtype | undefined {
  return value instanceof GlobalRef && value.module === "torch" ? TORCH_DTYPES.get(value.name) : undefined;
}

function wrongCount(): RefusedTensor {
  return malformed("has the wrong number of arguments");
}

function forbidden(path: string): RefusedTensor {
  return new RefusedTensor("FORBIDDEN_GLOBAL", `needs ${quote(path)}, which is not on the allow-list`, path);
}
