import { toFloat32 } from "../dtype/decode.ts";
import { DTYPES } from "../dtype/dtype.ts";
import { readView } from "../plan/read.ts";
import type { ReadOptions } from "../source/source.ts";
import type { StridedView } from "../view/view.ts";
import { integersOf } from "./integers.ts";
import { type ElementMap, MappedView } from "./mapped-view.ts";
import { PyList, PyTuple } from "./pickle/containers.ts";
import { GlobalRef, type PickleValue, PyFloat } from "./pickle/values.ts";
import { MemoryStorage, StorageNode, TORCH_DTYPES } from "./storage.ts";
import { integerTensor, naturals } from "./strided.ts";
import {
  type AnyTensor,
  CompositeTensor,
  DerivedTensor,
  malformed,
  RefusedTensor,
  TensorNode,
  unsupported,
} from "./tensor.ts";
import { tensorOf } from "./tensor-of.ts";

/** The integers that quantized dtypes are stored as. */
const INTEGERS = new Map([
  ["qint8", "int8"],
  ["quint8", "uint8"],
  ["qint32", "int32"],
]);

/** Channels whose scales are held in memory; vocabularies, the longest axes, have a quarter of a million entries. */
const MAX_CHANNELS = 2 ** 24;

/** How the integers become numbers: `(integer - zeroPoint) * scale`, one pair for all or one for each index of an axis. */
interface Quantizer {
  readonly scheme: string;
  readonly scale: TensorNode;
  readonly zeroPoint: TensorNode;
  readonly axis?: number;
}

/** `(storage, offset, size, stride, (scheme, …), requires_grad, hooks)` */
export function rebuildQuantized(args: readonly PickleValue[]): AnyTensor {
  const [storage, offset, size, stride, parameters] = args;
  if (args.length !== 7 || !(parameters instanceof PyTuple)) return malformed("has the wrong arguments");
  if (!(storage instanceof StorageNode)) return malformed("has no storage");
  const torchDtype = storage.dtype;
  const integer = TORCH_DTYPES.get(INTEGERS.get(torchDtype.name) ?? "");
  if (!integer) return unsupported(`is quantized to the dtype ${torchDtype.name}`);
  const integers = integerTensor({ storage, torchDtype, offset, size, stride }, integer);
  if (integers instanceof RefusedTensor) return integers;
  const quantizer = quantizerOf(parameters.items, naturals(size)!);
  if (quantizer instanceof RefusedTensor) return quantizer;
  const { scheme, scale, zeroPoint, axis } = quantizer;
  const where = axis === undefined ? "" : ` along axis ${axis}`;
  const what = `quantized to ${torchDtype.name} (${scheme}${where})`;
  const parts = new Map([
    ["", integers],
    [".scale", scale],
    [".zero_point", zeroPoint],
  ]);
  return new CompositeTensor("quantized", torchDtype, what, parts, dequantized(integers, quantizer));
}

function quantizerOf(items: readonly PickleValue[], shape: readonly number[]): Quantizer | RefusedTensor {
  const [name, first, second, axis] = items;
  const scheme = name instanceof GlobalRef && name.module === "torch" ? name.name : "";
  if (scheme === "per_tensor_affine") {
    const scale = numbersTensor([first], "float64", []);
    const zeroPoint = numbersTensor([second], "int64", []);
    if (items.length !== 3 || !scale || !zeroPoint) return malformed("has a wrong quantizer");
    return { scheme, scale, zeroPoint };
  }
  if (scheme !== "per_channel_affine" && scheme !== "per_channel_affine_float_qparams") {
    return unsupported("is quantized in an unknown scheme");
  }
  const isFloat = scheme === "per_channel_affine_float_qparams";
  const scale = channelNumbers(first, isFloat ? "float32" : "float64");
  const zeroPoint = channelNumbers(second, isFloat ? "float32" : "int64");
  if (items.length !== 4 || !scale || !zeroPoint) return malformed("has a wrong quantizer");
  const channels = typeof axis === "number" ? shape[axis] : undefined;
  if (channels === undefined || typeof axis !== "number")
    return malformed("is quantized along an axis that it has not");
  if (channels > MAX_CHANNELS) return unsupported(`is quantized with ${channels} channels`);
  for (const { shape } of [scale, zeroPoint]) {
    if (shape.length !== 1 || shape[0] !== channels) {
      return malformed(`has scales or zero points of the shape [${shape}] for ${channels} channels`);
    }
  }
  return { scheme, scale, zeroPoint, axis };
}

/** The numbers of all channels: a tensor, or a list. */
function channelNumbers(
  value: PickleValue | undefined,
  dtype: "float32" | "float64" | "int64",
): TensorNode | undefined {
  if (value instanceof PyList) return listTensor(value, dtype);
  const tensor = tensorOf(value);
  if (!(tensor instanceof TensorNode)) return undefined;
  const { kind } = DTYPES[tensor.dtype];
  return kind === "float" || kind === "signed" ? tensor : undefined;
}

/** The tensors that were made of lists: many quantizers may share one. A list only grows. */
const lists = new WeakMap<
  PyList,
  { readonly dtype: string; readonly length: number; readonly tensor: TensorNode | undefined }
>();

function listTensor(list: PyList, dtype: "float32" | "float64" | "int64"): TensorNode | undefined {
  const { length } = list.items;
  const known = lists.get(list);
  if (known?.length === length && known.dtype === dtype) return known.tensor;
  const tensor = numbersTensor(list.items, dtype, [length]);
  lists.set(list, { dtype, length, tensor });
  return tensor;
}

/** Numbers of the pickle as a tensor. */
function numbersTensor(
  items: readonly (PickleValue | undefined)[],
  name: "float32" | "float64" | "int64",
  shape: readonly number[],
): TensorNode | undefined {
  const torchDtype = TORCH_DTYPES.get(name)!;
  const bytes = new DataView(new ArrayBuffer(items.length * torchDtype.bytes));
  for (const [index, item] of items.entries()) {
    const number = item instanceof PyFloat && name !== "int64" ? item.value : item;
    if (typeof number !== "number") return undefined;
    if (name === "int64") bytes.setBigInt64(index * 8, BigInt(number), true);
    else if (name === "float64") bytes.setFloat64(index * 8, number, true);
    else bytes.setFloat32(index * 4, number, true);
  }
  const storage = new MemoryStorage(new Uint8Array(bytes.buffer), torchDtype);
  const strides = shape.map(() => 1);
  return new TensorNode({ storage, torchDtype, dtype: torchDtype.dtype!, shape, strides, byteOffset: 0 });
}

/** What torch's `dequantize()` gives, computed while it is read. */
function dequantized(integers: TensorNode, { scheme, scale, zeroPoint, axis }: Quantizer): DerivedTensor {
  const { shape } = integers;
  const channels =
    axis === undefined
      ? undefined
      : { count: shape[axis]!, size: shape.slice(axis + 1).reduce((product, size) => product * size, 1) };
  return new DerivedTensor({
    origin: integers,
    torchDtype: TORCH_DTYPES.get("float32")!,
    dtype: "F32",
    shape,
    what: `quantized (${scheme}), here dequantized`,
    open: (viewOf) => {
      const numbers = new Numbers([viewOf(scale), viewOf(zeroPoint)]);
      return new MappedView(viewOf(integers), dequantization(integers, numbers, channels));
    },
  });
}

/** @param channels how many there are along their axis, and how many elements in a row belong to one. */
function dequantization(
  integers: TensorNode,
  numbers: Numbers,
  channels: { readonly count: number; readonly size: number } | undefined,
): ElementMap {
  const read = INTEGER_READERS[integers.dtype as keyof typeof INTEGER_READERS];
  const size = DTYPES[integers.dtype].bits / 8;
  return {
    bytes: 4,
    async apply(input, first, options) {
      const [scales, zeroPoints] = await numbers.read(options);
      const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
      const output = new DataView(new ArrayBuffer((input.length / size) * 4));
      for (let index = 0; index < input.length / size; index++) {
        const channel = channels ? Math.floor((first + index) / channels.size) % channels.count : 0;
        const integer = read(view, index);
        const zeroPoint = zeroPoints![channel]!;
        // Torch takes the difference as 32-bit integers where the zero point is one for all, else as floats.
        const difference = channels
          ? Math.fround(integer) - Math.fround(zeroPoint)
          : (integer - zeroPoint) | 0;
        output.setFloat32(index * 4, Math.fround(difference) * Math.fround(scales![channel]!), true);
      }
      return new Uint8Array(output.buffer);
    },
  };
}

const INTEGER_READERS = {
  I8: (view: DataView, index: number) => view.getInt8(index),
  U8: (view: DataView, index: number) => view.getUint8(index),
  I32: (view: DataView, index: number) => view.getInt32(index * 4, true),
};

/** Small tensors of numbers that are read when first needed, once. */
class Numbers {
  readonly #views: readonly StridedView[];
  #values: readonly ArrayLike<number>[] | undefined;

  constructor(views: readonly StridedView[]) {
    this.#views = views;
  }

  async read(options: ReadOptions | undefined): Promise<readonly ArrayLike<number>[]> {
    this.#values ??= await Promise.all(
      this.#views.map(async (view) => {
        const bytes = await readView(view, options);
        return view.dtype === "I64" ? integersOf(bytes) : toFloat32(view.dtype, bytes, view.shape[0] ?? 1);
      }),
    );
    return this.#values;
  }
}
