import type { FloatDtype } from "../../dtype/cast.ts";
import type { PartData } from "../weight.ts";
import { type GroupedCodes, groupCount, part, scalesPart } from "./grouped-codes.ts";
import { packColumns, packRows, wordCount } from "./words.ts";

/**
 * GPTQ tensors: `qweight` I32 [ceil(K * bits / 32), N], `qzeros` I32 [G, ceil(N * bits / 32)], `scales` [G, N], `g_idx` I32
 * [K]. Zero points are stored less one, as checkpoint_format "gptq" has them, which is what every reader takes; so zero
 * becomes 2^bits - 1, which some readers take for 2^bits: they must be at least 1 to be safe.
 *
 * @param scaleDtype of `scales`; F16 in the files of AutoGPTQ
 * @throws `UNSUPPORTED` if a scale is too large for its dtype
 */
export function packGptq(weight: GroupedCodes, scaleDtype: FloatDtype = "F16"): Map<string, PartData> {
  const { shape, bits, codes, scales, zeros, groups } = weight;
  const [rows, columns] = shape;
  const count = groupCount(weight);
  const lessOne = zeros.map((zero) => (zero - 1) & (2 ** bits - 1));
  const groupOf =
    typeof groups === "number"
      ? Int32Array.from({ length: columns }, (_, column) => Math.floor(column / groups))
      : groups;
  return new Map([
    ["qweight", part("I32", [wordCount(columns, bits), rows], packColumns(codes, rows, columns, bits))],
    ["qzeros", part("I32", [count, wordCount(rows, bits)], packRows(lessOne, count, rows, bits))],
    ["scales", scalesPart(scales, [count, rows], scaleDtype)],
    ["g_idx", part("I32", [columns], groupOf)],
  ]);
}
