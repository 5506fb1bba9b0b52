import type { FloatDtype } from "../../dtype/cast.ts";
import { SafetensorsError } from "../../errors.ts";
import type { PartData } from "../weight.ts";
import { type GroupedCodes, groupCount, part, scalesPart } from "./grouped-codes.ts";
import { packAwqWords } from "./words.ts";

/**
 * AWQ tensors, version "gemm": `qweight` I32 [K, N / 8], `qzeros` I32 [G, N / 8], `scales` [G, N]. Codes have 4 bits, N is a
 * multiple of 8, and groups are neighbours.
 *
 * @param scaleDtype of `scales`; F16 in the files of AutoAWQ
 * @throws `UNSUPPORTED` for other codes, and if a scale is too large for its dtype
 */
export function packAwq(weight: GroupedCodes, scaleDtype: FloatDtype = "F16"): Map<string, PartData> {
  const { shape, bits, codes, scales, zeros, groups } = weight;
  const [rows, columns] = shape;
  if (bits !== 4 || rows % 8 !== 0 || typeof groups !== "number") {
    const text = `AWQ packs 8 outputs of 4 bits in a word, and groups that are neighbours: not ${rows} outputs of ${bits} bits`;
    throw new SafetensorsError("UNSUPPORTED", text);
  }
  const count = groupCount(weight);
  return new Map([
    ["qweight", part("I32", [columns, rows / 8], packAwqWords(codes, rows, columns, columns, 1))],
    ["qzeros", part("I32", [count, rows / 8], packAwqWords(zeros, rows, count, 1, rows))],
    ["scales", scalesPart(scales, [count, rows], scaleDtype)],
  ]);
}
