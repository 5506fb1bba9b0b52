import { quote } from "../errors.ts";
import { contiguousStrides } from "../view/view.ts";
import { classifyGlobal } from "./globals.ts";
import { ObjectNode, PyTuple } from "./pickle/containers.ts";
import { GlobalRef, kindOf, type PickleValue } from "./pickle/values.ts";
import { bytesOf, textOf } from "./python-bytes.ts";
import { MemoryStorage, TORCH_DTYPES, type TorchDtype } from "./storage.ts";
import { naturals, stridedTensor, wrongShape } from "./strided.ts";
import { type AnyTensor, malformed, RefusedTensor, unsupported } from "./tensor.ts";

/** What NumPy's arrays are pickled as, in both its versions of the module names. */
export const ARRAY_CALLS: readonly string[] = [
  "numpy.core.multiarray._reconstruct",
  "numpy._core.multiarray._reconstruct",
  "numpy.core.numeric._frombuffer",
  "numpy._core.numeric._frombuffer",
];

/** PyTorch's dtype for each of NumPy's, by its kind and bytes. */
const DTYPES = new Map([
  ["b1", "bool"],
  ["i1", "int8"],
  ["i2", "int16"],
  ["i4", "int32"],
  ["i8", "int64"],
  ["u1", "uint8"],
  ["u2", "uint16"],
  ["u4", "uint32"],
  ["u8", "uint64"],
  ["f2", "float16"],
  ["f4", "float32"],
  ["f8", "float64"],
  ["c8", "complex64"],
  ["c16", "complex128"],
]);

/** The types of the package ml_dtypes, which are pickled by their class. */
const ML_DTYPES = new Map([
  ["ml_dtypes.bfloat16", "bfloat16"],
  ["ml_dtypes.float8_e4m3fn", "float8_e4m3fn"],
  ["ml_dtypes.float8_e4m3fnuz", "float8_e4m3fnuz"],
  ["ml_dtypes.float8_e5m2", "float8_e5m2"],
  ["ml_dtypes.float8_e5m2fnuz", "float8_e5m2fnuz"],
  ["ml_dtypes.float8_e8m0fnu", "float8_e8m0fnu"],
]);

/**
 * The tensor that a NumPy array in a pickle is: `_reconstruct(ndarray, (0,), b"b")` with the state
 * `(1, shape, dtype, is_fortran, bytes)`, or `_frombuffer(bytes, dtype, shape, order)`.
 *
 * @returns nothing for other objects, and for arrays that hold no numbers.
 */
export function numpyArray(node: ObjectNode): AnyTensor | undefined {
  const path = calledPath(node);
  if (path === undefined || !ARRAY_CALLS.includes(path)) return undefined;
  if (path.endsWith("_frombuffer")) {
    const [bytes, dtype, shape, order] = node.args.items;
    if (node.args.items.length !== 4 || node.states.length > 0 || (order !== "C" && order !== "F")) {
      return malformed("is a NumPy array with the wrong arguments");
    }
    return arrayTensor(bytes, dtype, shape, order === "F");
  }
  const [type] = node.args.items;
  const className =
    type instanceof GlobalRef ? classifyGlobal(type.module, type.name).path : kindOf(type ?? null);
  if (className !== "numpy.ndarray") return unsupported(`is of the class ${quote(className)}`);
  const [state] = node.states;
  const fields = state instanceof PyTuple && node.states.length === 1 ? state.items : [];
  // The number of the version came after NumPy 1.0.
  const [shape, dtype, isFortran, bytes] = fields.length === 5 && fields[0] === 1 ? fields.slice(1) : fields;
  if (typeof isFortran !== "boolean" && isFortran !== 0 && isFortran !== 1) {
    return malformed("is a NumPy array with a wrong state");
  }
  return arrayTensor(bytes, dtype, shape, Boolean(isFortran));
}

function arrayTensor(
  data: PickleValue | undefined,
  dtype: PickleValue | undefined,
  size: PickleValue | undefined,
  isFortran: boolean,
): AnyTensor | undefined {
  const type = elementType(dtype);
  if (!type || type instanceof RefusedTensor) return type;
  const { torchDtype, isBigEndian } = type;
  const bytes = dataOf(data);
  if (!bytes) return malformed(`is a NumPy array whose data is of the type ${kindOf(data ?? null)}`);
  const shape = naturals(size);
  if (!shape) return malformed("is a NumPy array with a shape that is not made of non-negative ints");
  const wrong = wrongShape(shape, torchDtype.bytes);
  if (wrong) return wrong;
  const length = shape.reduce((product, each) => product * each, torchDtype.bytes);
  if (bytes.length !== length) {
    return malformed(`is a NumPy array of ${length} bytes with ${bytes.length} bytes of data`);
  }
  const strides = isFortran ? contiguousStrides(shape.toReversed()).reverse() : contiguousStrides(shape);
  const numberBytes = torchDtype.name.startsWith("complex") ? torchDtype.bytes / 2 : torchDtype.bytes;
  return stridedTensor({
    storage: new MemoryStorage(bytes, torchDtype, isBigEndian ? numberBytes : 0),
    torchDtype,
    offset: 0,
    size: new PyTuple(shape),
    stride: new PyTuple(strides),
  });
}

/** The bytes of calls of `_codecs.encode`, so that arrays that share one do not have it decoded again and again. */
const decoded = new WeakMap<ObjectNode, Uint8Array | undefined>();

function dataOf(value: PickleValue | undefined): Uint8Array | undefined {
  if (!(value instanceof ObjectNode)) return bytesOf(value);
  if (!decoded.has(value)) decoded.set(value, bytesOf(value));
  return decoded.get(value);
}

/** `dtype("f4", False, True)` with the state `(3, "<", None, …)`, or with the class of an element. */
function elementType(
  value: PickleValue | undefined,
): { torchDtype: TorchDtype; isBigEndian: boolean } | RefusedTensor | undefined {
  if (!(value instanceof ObjectNode) || calledPath(value) !== "numpy.dtype") {
    return malformed("is a NumPy array with a dtype that is not one");
  }
  const [code] = value.args.items;
  const name = textOf(code);
  const path = code instanceof GlobalRef ? code.path : undefined;
  const torchName = name === undefined ? ML_DTYPES.get(path ?? "") : DTYPES.get(name);
  const [state] = value.states;
  const fields = state instanceof PyTuple && value.states.length === 1 ? state.items : [];
  const order = textOf(fields[1]);
  if (order !== "<" && order !== ">" && order !== "|" && order !== "=") {
    return malformed("is a NumPy array with a dtype that has no byte order");
  }
  // Objects, texts, dates and times are no weights.
  if (/^[OSUMm]/.test(name ?? "")) return undefined;
  const shown = quote(name ?? path ?? "?");
  // Structured and repeated types have their description in the state.
  const isPlain = fields.slice(2, 5).every((field) => field === null);
  if (torchName === undefined || !isPlain) return unsupported(`is a NumPy array of the type ${shown}`);
  return { torchDtype: TORCH_DTYPES.get(torchName)!, isBigEndian: order === ">" };
}

/** The path of the name that a node is a call of. */
export function calledPath({ callable }: ObjectNode): string | undefined {
  return callable instanceof GlobalRef ? classifyGlobal(callable.module, callable.name).path : undefined;
}
