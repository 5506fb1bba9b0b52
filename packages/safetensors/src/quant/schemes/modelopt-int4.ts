import { elementCount } from "../../dtype/dtype.ts";
import { quote } from "../../errors.ts";
import type { QuantizedWeight } from "../weight.ts";
import { along, partOf } from "./pieces.ts";
import { isOfColumns, type ScaledBytes, scaledBytesCall } from "./scaled-bytes.ts";
import { byteTable, isScaleDtype } from "./scales.ts";

/**
 * W4A16_AWQ of ModelOpt: `weight` U8 `[out / 2, in]`, whose byte has the integers of two rows, the first in the lower
 * half, in two's complement; `weight_scale` `[out, in / group]`.
 *
 * @param given with the `group` of the configuration; unless there, the shapes say it
 * @returns the weight, or why it is none, to be said of the weight's tensor
 */
export function rowPairs(
  given: ScaledBytes & { readonly group?: number | undefined },
): QuantizedWeight | string {
  const { scheme, weight, scale, columnFactors, dense, besides, notes = [] } = given;
  const stays = "the weight stays as it is stored";
  const [half = 0, columns = 0] = weight.shape;
  const shape = [half * 2, columns];
  const group = given.group ?? columns / (scale.shape[1] ?? 0);
  const expected = [shape[0]!, Math.ceil(columns / group)];
  if (weight.shape.length !== 2 || !Number.isInteger(group) || `${scale.shape}` !== `${expected}`)
    return `U8 of shape [${weight.shape}] and scales ${quote(scale.name)} of shape [${scale.shape}], expected [out / 2, in] and [${expected}] for groups of ${group}: ${stays}`;
  if (!isScaleDtype(scale.dtype))
    return `scales ${quote(scale.name)} are of ${scale.dtype}, expected floats: ${stays}`;
  if (columnFactors && !isOfColumns(columnFactors, shape))
    return `${quote(columnFactors.name)} is ${columnFactors.dtype} of shape [${columnFactors.shape}], expected floats of shape [${columns}]: ${stays}`;
  const grid = { block: [1, group], isPerMatrix: true } as const;
  return {
    ...{ name: weight.name, scheme, shape, bits: 4, group: [group], symmetric: true, dense, besides },
    notes: ["two rows a byte", ...notes],
    parts: [
      partOf("weight", weight, [along(0, 2), along(1)]),
      partOf("scale", scale, [along(0), along(1, group)]),
      ...(columnFactors ? [partOf("factors", columnFactors, [along(1)])] : []),
    ],
    decode(data, piece) {
      const codes = unpackRows(data.get("weight")!.bytes, elementCount(piece), piece[1]!);
      return scaledBytesCall(codes, byteTable("I8"), data, piece, grid);
    },
  };
}

/** Each half of a byte as a byte, with its sign. */
function unpackRows(bytes: Uint8Array, count: number, columns: number): Uint8Array {
  const codes = new Uint8Array(count);
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    const at = i + Math.floor(i / columns) * columns;
    codes[at] = (byte << 28) >> 28;
    codes[at + columns] = (byte << 24) >> 28;
  }
  return codes;
}
