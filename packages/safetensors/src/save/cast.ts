import type { TensorHandle } from "../checkpoint/tensor.ts";
import { castFloats, type FloatDtype, isFloatDtype } from "../dtype/cast.ts";
import { DTYPES } from "../dtype/dtype.ts";
import { SafetensorsError } from "../errors.ts";
import type { ReadOptions } from "../source/source.ts";
import type { TensorStream } from "./save.ts";

/**
 * A tensor of floats in another dtype, cast piece by piece while it is saved: see `castFloats`. A tensor that is of this
 * dtype already, or holds no F64, F32, F16 or BF16, comes as it is.
 */
export function castTensor(tensor: TensorHandle, to: FloatDtype): TensorStream {
  const { dtype: from, shape } = tensor;
  if (from === to || !isFloatDtype(from)) return tensor;
  const [fromBytes, toBytes] = [DTYPES[from].bits / 8, DTYPES[to].bits / 8];
  async function* chunks(
    buffer: Uint8Array,
    options?: ReadOptions,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    // What comes out is to fit the buffer as well.
    const elements = Math.floor(buffer.length / Math.max(fromBytes, toBytes));
    if (elements === 0) throw new SafetensorsError("OUT_OF_RANGE", "the buffer for the pieces has no room");
    const pieces = tensor.chunks(buffer.subarray(0, elements * fromBytes), options);
    for await (const piece of pieces) yield castFloats(from as FloatDtype, to, piece);
  }
  return { dtype: to, shape, chunks };
}
