import { toFloat32 } from "../../dtype/decode.ts";
import type { ModuleTensors } from "../scheme.ts";
import type { PartData, QuantizedWeight } from "../weight.ts";
import { awqWeight, bitsProblem } from "./awq-parts.ts";
import type { GptqConfig } from "./gptq-config.ts";
import { IN, OUT, scalesDtype } from "./gptq-parts.ts";
import { unpackRows, wordsOf } from "./gptq-words.ts";
import { along, partOf } from "./pieces.ts";

/** Where the code of each of eight neighbours lies in a word, from the lowest bits on. */
const PLACES = [0, 4, 1, 5, 2, 6, 3, 7] as const;
/** What is taken off where there are no zeros. */
const MIDDLE = 8;

/**
 * `W[n, k] = (q[k, n] - z[k // group, n]) * scales[k // group, n]`, eight outputs in a word of `qweight [K, N / 8]` and
 * `qzeros [K / group, N / 8]`. Lin et al., AWQ (2023); the layout is that of AutoAWQ's GEMM kernel.
 */
export function gemmWeight(
  module: string,
  tensors: ModuleTensors,
  config: GptqConfig,
): QuantizedWeight | string {
  const [codes, scales, zeros] = [tensors.get("qweight")!, tensors.get("scales")!, tensors.get("qzeros")];
  const { settings, place, hasZeros } = config;
  const wrongBits = bitsProblem(config);
  if (wrongBits !== undefined) return wrongBits;
  const dtype = scalesDtype(scales);
  if (typeof dtype === "string") return dtype;
  const columns = codes.shape[0]!;
  const [groups, rows] = scales.shape as [number, number];
  if (columns === 0 || rows === 0 || groups === 0)
    return `qweight has the shape [${codes.shape}], nothing is in it`;
  if (!zeros && hasZeros !== false)
    return "qzeros are missing, and no configuration says that there are none";
  const isZeros =
    zeros?.is("I32") && zeros.shape.length === 2 && zeros.shape[0] === groups && zeros.shape[1]! * 8 === rows;
  if (zeros && !isZeros)
    return `qzeros are ${zeros.dtype} [${zeros.shape}], expected I32 [${groups},${rows / 8}], as scales are [${scales.shape}]`;
  const group =
    settings.group === undefined ? columns / groups : settings.group < 0 ? columns : settings.group;
  if (!Number.isInteger(group)) return `${columns} inputs are no ${groups} groups of the same size`;
  if (group * groups !== columns)
    return `${place} says groups of ${settings.group}, but there are ${groups} of them for ${columns} inputs: scales [${scales.shape}]`;

  const words = along(OUT, 8);
  const byGroup = groups === 1 ? null : along(IN, group);
  const parts = [
    partOf("qweight", codes, [along(IN), words]),
    partOf("scales", scales, [byGroup, along(OUT)]),
  ];
  if (zeros) parts.push(partOf("qzeros", zeros, [byGroup, words]));
  return awqWeight(module, dtype.dense, {
    shape: [rows, columns],
    group: [group],
    symmetric: !zeros,
    notes: zeros ? ["gemm"] : ["gemm", "no zeros"],
    parts,
    decode(data, [n, k]) {
      const part = data.get("scales")!;
      // One group of all inputs is whole in every piece; in an empty one it has none.
      const height = k === 0 ? 0 : part.shape[0]!;
      return {
        kernel: "awq",
        rows: n!,
        columns: k!,
        words: wordsOf(data.get("qweight")!.bytes),
        scales: toFloat32(part.dtype, part.bytes, height * n!),
        zeros: zerosOf(data.get("qzeros"), height, n!),
        group: groups === 1 ? Math.max(1, k!) : group,
      };
    },
  });
}

function zerosOf(stored: PartData | undefined, groups: number, rows: number): Uint8Array {
  if (!stored) return new Uint8Array(groups * rows).fill(MIDDLE);
  const packed = unpackRows(wordsOf(stored.bytes), groups, rows, 4);
  return packed.map((_, i) => packed[i - (i % 8) + PLACES[i % 8]!]!);
}
