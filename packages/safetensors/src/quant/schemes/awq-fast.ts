import { toFloat32 } from "../../dtype/decode.ts";
import { asTypedArray } from "../../dtype/typed-array.ts";
import type { ModuleTensors } from "../scheme.ts";
import { transposed } from "../transposed.ts";
import type { PartData, QuantizedWeight } from "../weight.ts";
import { awqWeight, bitsProblem, paddedGroups } from "./awq-parts.ts";
import type { GptqConfig } from "./gptq-config.ts";
import { IN, OUT, scalesDtype } from "./gptq-parts.ts";
import { along, partOf } from "./pieces.ts";

/** Rows that are stored together, and inputs of each that follow each other. */
const ROWS = 4;
const INPUTS = 64;

/** The input, of 32, whose code lies in each place. */
const ORDER: readonly number[] = Array.from({ length: 32 }, (_, place) => {
  const [eight, within] = [Math.floor(place / 8), place % 8];
  // Even ones of eight come before odd ones; and eight are two each from four runs of eight.
  const at = (within % 4) * 2 + Math.floor(within / 4);
  return Math.floor(at / 2) * 8 + eight * 2 + (at % 2);
});

/**
 * `W[n, k] = q[n, k] * scales[k // group, n] + zeros[k // group, n]`, where the zeros (`qzeros`, in llm-awq
 * `scaled_zeros`) are scaled and negative already. Four rows lie together in `qweight I16 [N / 4, K]`, 64 inputs of each, which
 * are permuted within 32; scales are padded at the end. AutoAWQ's GEMVFast and llm-awq's second kernel.
 */
export function fastWeight(
  module: string,
  tensors: ModuleTensors,
  config: GptqConfig,
): QuantizedWeight | string {
  const [codes, scales] = [tensors.get("qweight")!, tensors.get("scales")!];
  const zeros = tensors.get("qzeros") ?? tensors.get("scaled_zeros");
  const wrongBits = bitsProblem(config);
  if (wrongBits !== undefined) return wrongBits;
  const dtype = scalesDtype(scales);
  if (typeof dtype === "string") return dtype;
  if (!zeros) return "qzeros or scaled_zeros are missing, without which there are no values";
  if (zeros.dtype !== scales.dtype || `${zeros.shape}` !== `${scales.shape}`)
    return `zeros are ${zeros.dtype} [${zeros.shape}], but scales ${scales.dtype} [${scales.shape}]`;
  const [height, rows] = scales.shape as [number, number];
  const columns = codes.shape[1]!;
  if (columns === 0 || rows === 0) return `qweight has the shape [${codes.shape}], nothing is in it`;
  if (columns % INPUTS !== 0) return `${columns} inputs are no multiple of ${INPUTS}`;
  const padded = paddedGroups(columns, height, config);
  if (typeof padded === "string") return padded;
  const { group, atOnce } = padded;

  const byGroup = along(IN, group * 8 * atOnce, 8 * atOnce);
  return awqWeight(module, dtype.dense, {
    shape: [rows, columns],
    group: [group],
    symmetric: false,
    notes: ["gemv_fast"],
    parts: [
      partOf("qweight", codes, [along(OUT, ROWS), along(IN, INPUTS, INPUTS)]),
      partOf("scales", scales, [byGroup, along(OUT)]),
      partOf("qzeros", zeros, [byGroup, along(OUT)]),
    ],
    decode(data, [n, k]) {
      const groups = Math.ceil(k! / group);
      return {
        kernel: "packed-rows",
        rows: n!,
        columns: k!,
        bits: 4,
        words: wordsInOrder(data.get("qweight")!, n!, k!),
        scales: turned(data.get("scales")!, n!, groups),
        zeros: 0,
        biases: turned(data.get("qzeros")!, n!, groups),
        groups: group,
      };
    },
  });
}

/** Codes as rows of their own: `[N / 4, K / 64, 4, 64]` gives `[N, K]`, eight in a word. */
function wordsInOrder({ bytes }: PartData, rows: number, columns: number): Uint32Array {
  const stored = asTypedArray("U16", bytes, (rows / ROWS) * columns);
  const words = new Uint32Array((rows * columns) / 8);
  for (let i = 0; i < stored.length; i++) {
    const [four, within] = [Math.floor(i / columns), i % columns];
    const block = Math.floor(within / INPUTS);
    // Of the 256 codes of a block, these are four neighbours.
    const first = (within % INPUTS) * 4;
    const row = four * ROWS + Math.floor(first / INPUTS);
    for (let j = 0; j < 4; j++) {
      const place = (first + j) % INPUTS;
      const column = block * INPUTS + place - (place % 32) + ORDER[place % 32]!;
      const code = (stored[i]! >>> (4 * j)) & 15;
      words[(row * columns + column) >>> 3]! |= code << (4 * (column % 8));
    }
  }
  return words;
}

/** The first groups, `[groups, rows]`, as `[rows, groups]`. */
function turned({ dtype, bytes }: PartData, rows: number, groups: number): Float32Array {
  return transposed(toFloat32(dtype, bytes, groups * rows), groups, rows);
}
