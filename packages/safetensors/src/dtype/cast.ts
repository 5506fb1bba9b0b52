import { SafetensorsError } from "../errors.ts";
import { toFloat32 } from "./decode.ts";
import { DTYPES, type Dtype } from "./dtype.ts";

/** The dtypes that floats are cast between. */
export type FloatDtype = (typeof FLOATS)[number];

const FLOATS = ["F64", "F32", "F16", "BF16"] as const;

/** Whether a dtype is one of those that `castFloats` takes and gives. */
export function isFloatDtype(dtype: Dtype): dtype is FloatDtype {
  return FLOATS.includes(dtype as FloatDtype);
}

/**
 * Packed floats of one dtype as another's: rounded to nearest, ties to even; what is too large becomes infinite; NaNs stay
 * NaNs, not their payloads. From F64 to 16 bits it rounds twice, over F32, as PyTorch's `Tensor.to` does.
 *
 * @param bytes whole elements, little-endian.
 * @returns new memory
 * @throws `SIZE_MISMATCH` if the bytes are no whole elements
 */
export function castFloats(from: FloatDtype, to: FloatDtype, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const size = DTYPES[from].bits / 8;
  if (bytes.length % size !== 0) {
    throw new SafetensorsError("SIZE_MISMATCH", `${bytes.length} bytes are no whole elements of ${from}`);
  }
  if (from === to) return new Uint8Array(bytes);
  const floats = toFloat32(from, bytes, bytes.length / size);
  const cast = to === "F32" ? floats : to === "F64" ? new Float64Array(floats) : narrow(floats, to);
  return new Uint8Array(cast.buffer as ArrayBuffer);
}

function narrow(floats: Float32Array, to: "F16" | "BF16"): Uint16Array {
  const bits = new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
  const codes = new Uint16Array(bits.length);
  const codeOf = to === "F16" ? float16Of : bfloat16Of;
  for (let i = 0; i < bits.length; i++) codes[i] = codeOf(bits[i]!);
  return codes;
}

/** Rounds the upper half by the lower one; a carry into the exponent is right, up to infinity. */
function bfloat16Of(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

function float16Of(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7e00;
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  // Normal: the exponent's bias changes from 127 to 15, and 13 bits of the mantissa go.
  if (magnitude >= 0x38800000)
    return sign | ((magnitude + 0xfff + ((magnitude >>> 13) & 1) - 0x38000000) >>> 13);
  // Subnormal: the unit is 2^-24, that of floats next to 1/2, so that adding a half rounds to it.
  scratchBits[0] = magnitude;
  scratch[0]! += 0.5;
  return sign | (scratchBits[0]! - 0x3f000000);
}
