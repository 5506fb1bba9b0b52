import { toFloat32 } from "../../dtype/decode.ts";
import type { ModuleTensors } from "../scheme.ts";
import type { QuantizedWeight } from "../weight.ts";
import { awqWeight, bitsProblem, paddedGroups } from "./awq-parts.ts";
import type { GptqConfig } from "./gptq-config.ts";
import { IN, OUT, scalesDtype } from "./gptq-parts.ts";
import { unpackRows, wordsOf } from "./gptq-words.ts";
import { along, partOf } from "./pieces.ts";

/**
 * `W[n, k] = (q[n, k] - z[n, k // group]) * scales[n, k // group]`, eight neighbouring inputs in a word of
 * `qweight [N, K / 8]`; scales `[N, groups]` and `qzeros [N, groups / 8]` are padded at the end. AutoAWQ's GEMV kernel.
 */
export function gemvWeight(
  module: string,
  tensors: ModuleTensors,
  config: GptqConfig,
): QuantizedWeight | string {
  const [codes, scales, zeros] = [tensors.get("qweight")!, tensors.get("scales")!, tensors.get("qzeros")!];
  const wrongBits = bitsProblem(config);
  if (wrongBits !== undefined) return wrongBits;
  const dtype = scalesDtype(scales);
  if (typeof dtype === "string") return dtype;
  if (!zeros.is("I32")) return `qzeros are ${zeros.dtype}, expected I32`;
  const [rows, width] = scales.shape as [number, number];
  const columns = codes.shape[1]! * 8;
  if (columns === 0 || rows === 0) return `qweight has the shape [${codes.shape}], nothing is in it`;
  const padded = paddedGroups(columns, width, config);
  if (typeof padded === "string") return padded;
  const { group, atOnce } = padded;

  const every = group * 8 * atOnce;
  return awqWeight(module, dtype.dense, {
    shape: [rows, columns],
    group: [group],
    symmetric: false,
    notes: ["gemv"],
    parts: [
      partOf("qweight", codes, [along(OUT), along(IN, 8)]),
      partOf("qzeros", zeros, [along(OUT), along(IN, every, atOnce)]),
      partOf("scales", scales, [along(OUT), along(IN, every, 8 * atOnce)]),
    ],
    decode(data, [n, k]) {
      const [part, words] = [data.get("scales")!, wordsOf(data.get("qzeros")!.bytes)];
      const [stored, groups] = [part.shape[1]!, Math.ceil(k! / group)];
      return {
        kernel: "packed-rows",
        rows: n!,
        columns: k!,
        bits: 4,
        words: wordsOf(data.get("qweight")!.bytes),
        scales: withoutPadding(toFloat32(part.dtype, part.bytes, n! * stored), n!, stored, groups),
        zeros: Float32Array.from(unpackRows(words, n!, groups, 4)),
        groups: group,
      };
    },
  });
}

/** The first columns of each row. */
function withoutPadding(values: Float32Array, rows: number, width: number, columns: number): Float32Array {
  const result = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++)
    result.set(values.subarray(row * width, row * width + columns), row * columns);
  return result;
}
