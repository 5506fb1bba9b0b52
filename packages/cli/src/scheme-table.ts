import { DTYPES } from "safetensors.js/dtype";
import type { Quantization, QuantizedWeight } from "safetensors.js/quant";

/** Weights of one checkpoint that are quantised alike. */
export interface SchemeRow {
  /** The scheme in words: "gptq, 4 bits, groups of 128, act-order". */
  readonly text: string;
  readonly weights: number;
  /** Elements of their dense form. */
  readonly parameters: number;
  /** Bytes of their stored parts. */
  readonly bytes: number;
}

/** The ways in which weights are quantised, the one with the most parameters first. */
export function schemesOf({ weights }: Pick<Quantization, "weights">): SchemeRow[] {
  const rows = new Map<string, { weights: number; parameters: number; bytes: number }>();
  for (const weight of weights.values()) {
    const text = schemeText(weight);
    const row = rows.get(text) ?? { weights: 0, parameters: 0, bytes: 0 };
    row.weights++;
    row.parameters += countOf(weight.shape);
    for (const { dtype, shape } of weight.parts)
      row.bytes += Math.ceil((countOf(shape) * DTYPES[dtype].bits) / 8);
    rows.set(text, row);
  }
  return Array.from(rows, ([text, row]) => ({ text, ...row })).sort((a, b) => b.parameters - a.parameters);
}

/** How a weight is quantised, in a few words. */
export function schemeText({ scheme, bits, group, shape, symmetric, notes }: QuantizedWeight): string {
  return [
    scheme,
    `${bits} ${bits === 1 ? "bit" : "bits"}`,
    groupText(group, shape),
    ...(symmetric ? [] : ["with zero points"]),
    ...notes,
  ].join(", ");
}

function groupText(group: readonly number[], shape: readonly number[]): string {
  const sizes = group.map((size, at) => [size, shape.at(at - group.length) ?? 1] as const);
  if (sizes.every(([size, whole]) => size >= whole)) {
    return group.length > 1 ? "one scale for a weight" : "a scale for each row";
  }
  if (sizes.length === 2 && sizes[0]![0] === 1) {
    return sizes[1]![0] >= sizes[1]![1] ? "a scale for each row" : `groups of ${sizes[1]![0]}`;
  }
  return sizes.length === 1 ? `groups of ${sizes[0]![0]}` : `blocks of ${group.join("x")}`;
}

const countOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);
