import type { FloatDtype } from "../../dtype/cast.ts";
import { transposed } from "../transposed.ts";
import type { PartData } from "../weight.ts";
import { type GroupedCodes, groupCount, part, scalesPart } from "./grouped-codes.ts";
import { packColumns, packRows, wordCount } from "./words.ts";

/**
 * compressed-tensors, format "pack-quantized": `weight_packed` I32 [N, ceil(K * bits / 32)], `weight_scale` [N, G],
 * `weight_shape` I64 [2]; unless symmetric `weight_zero_point` I32 [ceil(N * bits / 32), G]; and `weight_g_idx` I32 [K]
 * if groups are not neighbours. Codes are stored as they are: with all of them less 2^(bits - 1) they are what the format
 * calls signed integers.
 *
 * @param scaleDtype of `weight_scale`: that of the model
 * @param symmetric every zero is 2^(bits - 1), and none is stored
 * @throws `UNSUPPORTED` if a scale is too large for its dtype
 */
export function packCompressedTensors(
  weight: GroupedCodes,
  scaleDtype: FloatDtype,
  symmetric = true,
): Map<string, PartData> {
  const { shape, bits, codes, scales, zeros, groups } = weight;
  const [rows, columns] = shape;
  const count = groupCount(weight);
  const parts = new Map([
    ["weight_packed", part("I32", [rows, wordCount(columns, bits)], packRows(codes, rows, columns, bits))],
    ["weight_scale", scalesPart(transposed(scales, count, rows), [rows, count], scaleDtype)],
    ["weight_shape", part("I64", [2], BigInt64Array.from([BigInt(rows), BigInt(columns)]))],
  ]);
  if (!symmetric) {
    const packed = packColumns(zeros, count, rows, bits);
    parts.set("weight_zero_point", part("I32", [wordCount(rows, bits), count], packed));
  }
  if (typeof groups !== "number") parts.set("weight_g_idx", part("I32", [columns], groups));
  return parts;
}
