import { Checkpoint, type TensorIndex } from "../checkpoint/checkpoint.ts";
import type { FloatDtype } from "../dtype/cast.ts";
import type { TensorView } from "../view/tiling.ts";
import { contiguousStrides } from "../view/view.ts";
import { denseShape } from "./cut-parts.ts";
import { type DecodeOptions, DequantizedSource } from "./dense-source.ts";
import type { Quantization } from "./find.ts";
import type { QuantizedWeight } from "./weight.ts";

/** How quantised weights are made dense. */
export interface DequantizeOptions extends DecodeOptions {
  /** Of the dense weights; unless given, each gets what its scheme says (mostly the dtype of its scales). */
  readonly dtype?: FloatDtype | undefined;
}

/**
 * The checkpoint as it would be without quantisation: each quantised weight is one dense tensor, decoded when and as far
 * as it is read, and its parts are no longer seen. All that takes a checkpoint takes this one. Closing it closes
 * the other.
 */
export function dequantized(
  checkpoint: Checkpoint,
  quantization: Quantization,
  { dtype, ...options }: DequantizeOptions = {},
): Checkpoint {
  const { weightOf, extras } = quantization;
  const views = new Map<string, () => TensorView>();
  // A weight stands where its first part stood.
  for (const name of checkpoint.keys()) {
    const weight = weightOf.get(name);
    if (weight) {
      if (!views.has(weight.name)) views.set(weight.name, () => denseView(weight));
    } else if (!extras.has(name)) views.set(name, () => checkpoint.get(name).view);
  }
  function denseView(weight: QuantizedWeight): TensorView {
    const to = dtype ?? weight.dense;
    const source = new DequantizedSource(weight, (name) => checkpoint.get(name), to, options);
    const shape = denseShape(weight);
    return { source, dtype: to, shape, strides: contiguousStrides(shape), bitOffset: 0 };
  }
  const tensors: TensorIndex = {
    size: views.size,
    names: () => views.keys(),
    find: (name) => views.get(name)?.(),
  };
  const { format, metadata, problems } = checkpoint;
  return new Checkpoint({ format, tensors, metadata, problems, close: () => checkpoint.close() });
}
