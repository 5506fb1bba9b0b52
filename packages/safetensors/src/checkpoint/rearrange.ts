import type { Dtype } from "../dtype/dtype.ts";
import { reshapeView, transposeView } from "../view/rearrange.ts";
import { TensorHandle } from "./tensor.ts";

// Functions, not methods: most pages that read tensors need neither, and load what they need only.

/**
 * The tensor with its dimensions in another order, reversed without one, as NumPy's `transpose`. Nothing is read.
 *
 * @throws `INVALID_SLICE` unless `axes` names every dimension once; negative ones count from the end
 */
export function transpose<D extends Dtype>(
  tensor: TensorHandle<D>,
  axes?: readonly number[],
): TensorHandle<D> {
  return new TensorHandle(tensor.name, { ...transposeView(tensor.view, axes), dtype: tensor.dtype });
}

/**
 * The tensor with the same elements in another shape, in which one length may be -1: what is left. Nothing is read.
 *
 * @throws `INVALID_SLICE` for another number of elements, and where they do not lie so that it needs no copy
 */
export function reshape<D extends Dtype>(tensor: TensorHandle<D>, shape: readonly number[]): TensorHandle<D> {
  return new TensorHandle(tensor.name, { ...reshapeView(tensor.view, shape), dtype: tensor.dtype });
}
