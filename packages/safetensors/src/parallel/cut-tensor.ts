import { TensorHandle } from "../checkpoint/tensor.ts";
import type { Dtype } from "../dtype/dtype.ts";
import { type Cut, cutView } from "../view/cut.ts";

/** The part of a tensor that a cut takes; it keeps its name. Nothing is read. Throws as `cutView`. */
export function cutTensor<D extends Dtype>(tensor: TensorHandle<D>, cut: Cut): TensorHandle<D> {
  return new TensorHandle(tensor.name, { ...cutView(tensor.view, cut), dtype: tensor.dtype });
}
