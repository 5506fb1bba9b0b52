import type { FloatDtype } from "../../dtype/cast.ts";
import type { QuantizedWeight } from "../weight.ts";
import type { GptqConfig } from "./gptq-config.ts";
import { weightName } from "./gptq-parts.ts";

/** What is the same in all layouts. */
export function awqWeight(
  module: string,
  dtype: FloatDtype,
  rest: Pick<QuantizedWeight, "shape" | "group" | "symmetric" | "notes" | "parts" | "decode">,
): QuantizedWeight {
  return { name: weightName(module), scheme: "awq", bits: 4, dense: dtype, ...rest };
}

/** What of the configuration does not fit AWQ. */
export function bitsProblem({ settings: { bits }, place }: GptqConfig): string | undefined {
  return bits === undefined || bits === 4
    ? undefined
    : `${place} says ${bits} bits, but the layout is one of 4`;
}

/** Words of zeros in a row of the gemv layouts: of 8 groups each, and as many as the kernel reads at once. */
function wordsAtOnce(group: number): number | undefined {
  return group >= 128 ? 1 : group === 64 ? 2 : group === 32 ? 4 : undefined;
}

/** Inputs of a group of the gemv layouts, and how their scales are padded; or what does not fit. */
export function paddedGroups(
  columns: number,
  width: number,
  { settings, place }: GptqConfig,
): { readonly group: number; readonly atOnce: number } | string {
  const said = settings.group;
  if (said === undefined) return "no configuration says the size of a group, and padded scales do not";
  const group = said < 0 ? columns : said;
  const atOnce = wordsAtOnce(group);
  if (atOnce === undefined) return `${place} says groups of ${said}, expected 32, 64, or 128 and more`;
  if (columns % group !== 0) return `${columns} inputs are no whole groups of ${group}`;
  const expected = Math.ceil(columns / group / 8 / atOnce) * atOnce * 8;
  if (width === expected) return { group, atOnce };
  return `${place} says groups of ${said}, whose scales for ${columns} inputs are ${expected} with padding, but there are ${width}`;
}
