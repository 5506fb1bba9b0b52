import type { TensorHandle } from "../checkpoint/tensor.ts";
import { type CastOptions, type FloatDtype, floatCaster, isFloatDtype } from "../dtype/cast.ts";
import { DTYPES, elementCount } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import type { ReadOptions } from "../source/source.ts";
import type { TensorStream } from "./save.ts";

/**
 * A tensor of floats in another dtype, cast piece by piece while it is saved: see `castFloats`. A tensor that is of this
 * dtype already, or is not of floats (integers, booleans, complex numbers), comes as it is. The random numbers of
 * stochastic rounding depend on the tensor's name.
 *
 * @throws `MISALIGNED` if its elements would not fill whole bytes; when read, `UNSUPPORTED` for a NaN as F6 or F4
 */
export function castTensor(tensor: TensorHandle, to: FloatDtype, options?: CastOptions): TensorStream {
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
    const cast = floatCaster(from as FloatDtype, to, options, name);
    for await (const piece of wholeGroups(tensor, to, buffer, readOptions)) yield cast(piece);
  }
  return { dtype: to, shape, chunks };
}

/** The bytes of a tensor in pieces that are whole bytes in the other dtype as well, where they fit the buffer too. */
async function* wholeGroups(
  tensor: TensorHandle,
  to: FloatDtype,
  buffer: Uint8Array,
  options?: ReadOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const [fromBits, toBits] = [DTYPES[tensor.dtype].bits, DTYPES[to].bits];
  const group = Math.max(...[fromBits, toBits].map((bits) => (bits === 6 ? 4 : bits === 4 ? 2 : 1)));
  const groupBytes = (group * fromBits) / 8;
  const groups = Math.floor((buffer.length * 8) / Math.max(fromBits, toBits) / group);
  if (groups === 0) throw new SafetensorsError("OUT_OF_RANGE", "the buffer for the pieces has no room");
  // A tensor that is gathered may come in pieces that end amidst a group.
  let rest = new Uint8Array(0);
  for await (const piece of tensor.chunks(buffer.subarray(0, groups * groupBytes), options)) {
    let bytes = piece;
    if (rest.length > 0) {
      bytes = new Uint8Array(rest.length + piece.length);
      bytes.set(rest);
      bytes.set(piece, rest.length);
    }
    const whole = bytes.length - (bytes.length % groupBytes);
    rest = new Uint8Array(bytes.subarray(whole));
    if (whole > 0) yield bytes.subarray(0, whole);
  }
}
