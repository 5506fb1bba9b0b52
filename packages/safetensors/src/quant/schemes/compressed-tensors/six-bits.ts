import type { TensorHandle } from "../../../checkpoint/tensor.ts";
import type { FloatDtype } from "../../../dtype/cast.ts";
import { toFloat32 } from "../../../dtype/decode.ts";
import { elementCount } from "../../../dtype/dtype.ts";
import { quote } from "../../../errors.ts";
import type { QuantizedWeight } from "../../weight.ts";
import { along, partOf } from "../pieces.ts";
import { scaledBytesCall } from "../scaled-bytes.ts";

/** Elements that share an exponent. */
const BLOCK = 32;

/** Codes of F6 (E2M3) in the lower six bits of a byte. */
const E2M3: Float32Array = toFloat32("F6_E2M3", packedSixes(), 256);

/**
 * `mxfp6-pack-quantized`: `weight_packed` U8 `[out, in * 3 / 4]`, four F6 (E2M3) in three bytes, and an exponent of two
 * for 32 inputs.
 *
 * @returns the weight, or why it is none
 */
export function sixBits(
  name: string,
  packed: TensorHandle,
  scale: TensorHandle,
  dense: FloatDtype,
  besides: readonly string[],
): QuantizedWeight | string {
  const [rows, groups] = scale.shape as [number, number];
  const shape = [rows, groups * BLOCK];
  if (scale.shape.length !== 2 || `${packed.shape}` !== `${[rows, (shape[1]! * 3) / 4]}`)
    return `U8 of shape [${packed.shape}] and ${quote(scale.name)} of shape [${scale.shape}], expected [out, in * 3 / 4] and [out, in / ${BLOCK}]: the weight stays as it is stored`;
  const grid = { block: [1, BLOCK], isPerMatrix: true } as const;
  return {
    ...{
      name,
      scheme: "compressed-tensors",
      shape,
      bits: 6,
      group: [BLOCK],
      symmetric: true,
      dense,
      besides,
    },
    notes: ["F6_E2M3"],
    parts: [
      partOf("packed", packed, [along(0), along(1, BLOCK, (BLOCK * 3) / 4)]),
      partOf("scale", scale, [along(0), along(1, BLOCK)]),
    ],
    decode(data, piece) {
      const codes = unpackSixes(data.get("packed")!.bytes, elementCount(piece));
      return scaledBytesCall(codes, E2M3, data, piece, grid);
    },
  };
}

/** Four codes of six bits in three bytes, the first in the lowest bits, as bytes. */
function unpackSixes(bytes: Uint8Array, count: number): Uint8Array {
  const codes = new Uint8Array(count);
  for (let i = 0, at = 0; i < count; i += 4, at += 3) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16);
    for (let k = 0; k < 4; k++) codes[i + k] = (word >>> (6 * k)) & 63;
  }
  return codes;
}

/** All codes one after the other, four times: as many as a byte has. */
function packedSixes(): Uint8Array {
  const bytes = new Uint8Array(192);
  for (let i = 0, at = 0; i < 256; i += 4, at += 3) {
    const [a, b, c, d] = [i & 63, (i + 1) & 63, (i + 2) & 63, (i + 3) & 63];
    const word = a | (b << 6) | (c << 12) | (d << 18);
    bytes.set([word & 255, (word >>> 8) & 255, word >>> 16], at);
  }
  return bytes;
}
