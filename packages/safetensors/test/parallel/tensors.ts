import { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { DTYPES, type Dtype, elementCount } from "../../src/dtype/dtype.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { contiguousStrides, type StridedView } from "../../src/view/view.ts";
import { noise } from "../support.ts";

/** Packed bytes as a tensor. */
export function viewOf(dtype: Dtype, shape: readonly number[], bytes: Uint8Array): StridedView {
  return { source: fromBytes(bytes), dtype, shape, strides: contiguousStrides(shape), bitOffset: 0 };
}

/** A tensor in memory whose bytes look random. */
export function tensorOf(
  name: string,
  shape: readonly number[],
  dtype: Dtype = "BF16",
  seed = 1,
): TensorHandle {
  const length = Math.ceil((elementCount(shape) * DTYPES[dtype].bits) / 8);
  return new TensorHandle(name, viewOf(dtype, shape, noise(length, seed)));
}

/** A tensor whose elements are 0, 1, 2, …, as one byte each. */
export function countingTensor(name: string, ...shape: readonly number[]): TensorHandle {
  const bytes = Uint8Array.from({ length: elementCount(shape) }, (_, i) => i);
  return new TensorHandle(name, viewOf("U8", shape, bytes));
}
