import { PieceTaker } from "../checkpoint/piece-taker.ts";
import type { TensorHandle } from "../checkpoint/tensor.ts";
import { type CastOptions, type FloatDtype, isFloatDtype } from "../dtype/cast.ts";
import { DTYPES, type Dtype, elementCount } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { kernelCaster } from "../kernels/cast.ts";
import type { ReadOptions } from "../source/source.ts";
import type { TensorStream } from "./save.ts";
import { type SumOptions, TensorSum } from "./tensor-sum.ts";

/**
 * A tensor of floats in another dtype, cast piece by piece while it is saved: see `castFloats`. A tensor that is of this
 * dtype already, or is not of floats (integers, booleans, complex numbers), comes as it is. The random numbers of
 * stochastic rounding depend on the tensor's name. Its bytes before the cast are compared with the checksum that their
 * file has of them, as by `save`.
 *
 * @throws `MISALIGNED` if its elements would not fill whole bytes; when read, `UNSUPPORTED` for a NaN as F6 or F4,
 *   `INVALID_ARCHIVE` for a tensor that does not have its checksum
 */
export function castTensor(
  tensor: TensorHandle,
  to: FloatDtype,
  options: CastOptions & Pick<SumOptions, "crc32"> = {},
): TensorStream {
  const { name, dtype: from, shape } = tensor;
  if (from === to || !isFloatDtype(from)) return tensor;
  if ((elementCount(shape) * DTYPES[to].bits) % 8 !== 0) {
    const message = `tensor ${quote(name)} has ${elementCount(shape)} elements, which as ${to} do not fill whole bytes`;
    throw new SafetensorsError("MISALIGNED", message, { tensor: name });
  }
  async function* chunks(
    buffer: Uint8Array,
    readOptions?: ReadOptions,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const caster = await kernelCaster(from as FloatDtype, to, options, name);
    const room = Math.min(buffer.length, caster.memory?.length ?? Number.POSITIVE_INFINITY);
    const size = pieceBytes(from, to, room);
    // A tensor of a few bytes may be larger before the cast than the buffer for what it becomes.
    const own = caster.memory ?? (size <= buffer.length ? buffer : new Uint8Array(size));
    const sum = TensorSum.of(name, tensor, { crc32: options.crc32 });
    const taker = new PieceTaker(tensor, own.subarray(0, size), readOptions);
    let isReading = false;
    try {
      for (let done = 0; done < tensor.byteLength; done += size) {
        isReading = true;
        const piece = await taker.take(Math.min(size, tensor.byteLength - done));
        isReading = false;
        sum?.add(piece);
        yield caster.cast(piece);
      }
      sum?.finish();
    } finally {
      await taker.close();
      // A read that failed or was aborted may go on writing: its memory is left to no other.
      if (!isReading) caster.release();
    }
  }
  return { dtype: to, shape, chunks };
}

/**
 * Bytes of the pieces to cast: as many as fit `room` before the cast and after it, and whole bytes on both sides.
 *
 * @throws `OUT_OF_RANGE` if not even the smallest such piece fits after the cast
 */
function pieceBytes(from: Dtype, to: FloatDtype, room: number): number {
  const [before, after] = [DTYPES[from].bits, DTYPES[to].bits];
  const group = Math.max(...[before, after].map((bits) => (bits === 6 ? 4 : bits === 4 ? 2 : 1)));
  if (group * after > room * 8) {
    throw new SafetensorsError("OUT_OF_RANGE", `the buffer for the pieces has no room: ${room} bytes`);
  }
  const groups = Math.max(1, Math.floor((room * 8) / Math.max(before, after) / group));
  return (groups * group * before) / 8;
}
