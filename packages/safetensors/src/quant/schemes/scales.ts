import { type FloatDtype, isFloatDtype } from "../../dtype/cast.ts";
import { toFloat32 } from "../../dtype/decode.ts";
import { DTYPES, type Dtype, elementCount } from "../../dtype/dtype.ts";
import type { QuantConfig } from "../config.ts";
import { torchFloat } from "../torch-floats.ts";
import type { PartData } from "../weight.ts";

/** Whether a dtype is one that scales come in. */
export function isScaleDtype(dtype: Dtype): boolean {
  // U8 holds the bytes of F8_E8M0: exponents of two, by OCP Microscaling Formats (MX) 1.0.
  return dtype === "U8" || (isFloatDtype(dtype) && DTYPES[dtype].bits >= 8);
}

/** Scales of any such dtype as 32-bit floats, in memory of their own. */
export function scalesOf({ dtype, shape, bytes }: PartData): Float32Array {
  return toFloat32(dtype === "U8" ? "F8_E8M0" : dtype, bytes, elementCount(shape));
}

/** Numbers of any dtype, zero points among them, as 32-bit floats, in memory of their own. */
export function valuesOf({ dtype, shape, bytes }: PartData): Float32Array {
  return toFloat32(dtype, bytes, elementCount(shape));
}

/** Bytes in memory of their own, so that the worker that gets them takes no one else's. */
export function ownBytes({ bytes }: Pick<PartData, "bytes">): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
}

/** What each of the 256 codes of a dtype of one byte is. */
export function byteTable(dtype: Dtype): Float32Array {
  return toFloat32(
    dtype,
    Uint8Array.from({ length: 256 }, (_, code) => code),
    256,
  );
}

/** What each of the 16 codes of F4 (E2M1) is. */
export const E2M1: Float32Array = toFloat32(
  "F4",
  Uint8Array.from({ length: 8 }, (_, pair) => ((2 * pair + 1) << 4) | (2 * pair)),
  16,
);

/**
 * The floats that a dense weight is stored in: those that config.json names for the model, else those of the scales, as
 * Transformers and compressed-tensors do, and BF16 where scales are of a byte.
 */
export function denseDtype(config: QuantConfig | undefined, scale: Dtype): FloatDtype {
  const { model } = config ?? {};
  const said = torchFloat(model?.get("dtype") ?? model?.get("torch_dtype"));
  if (said) return said;
  return scale === "F32" || scale === "F16" ? scale : "BF16";
}
