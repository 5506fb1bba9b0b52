import { SafetensorsError } from "../../../errors.ts";
import { awqAsymmetric, gptqAsymmetric, gptqSymmetric, type IntegerRule } from "../integer-rules.ts";

/** What codes can be: how many bits, how many neighbouring inputs share a scale, and where the zero is. */
export interface CodeFormat {
  /** 2 to 8. */
  readonly bits: number;
  /** Inputs that share a scale; -1: all. */
  readonly group: number;
  /** Whether every zero point is 2^(bits - 1). */
  readonly symmetric: boolean;
}

/** AutoAWQ without zero points: the largest magnitude is the last code, 2^(bits - 1) - 1. */
const awqSymmetric: IntegerRule = ({ min, max }, bits) => {
  const last = 2 ** (bits - 1) - 1;
  const scales = max.map((high, i) => Math.max(high, -min[i]!, 1e-5) / last);
  return { scales, zeros: new Uint8Array(scales.length).fill(last + 1) };
};

/** How GPTQ chooses scales and zero points. */
export const gptqRule = ({ symmetric }: CodeFormat): IntegerRule =>
  symmetric ? gptqSymmetric : gptqAsymmetric;

/** How AWQ does. */
export const awqRule = ({ symmetric }: CodeFormat): IntegerRule => (symmetric ? awqSymmetric : awqAsymmetric);

/**
 * The size of a group as a number of inputs.
 *
 * @throws `UNSUPPORTED` for bits and groups that there are no codes for
 */
export function groupSize({ bits, group }: CodeFormat, columns: number): number {
  if (!Number.isInteger(bits) || bits < 2 || bits > 8)
    throw new SafetensorsError("UNSUPPORTED", `codes have 2 to 8 bits, not ${bits}`);
  if (group === -1) return Math.max(columns, 1);
  if (Number.isInteger(group) && group > 0) return group;
  throw new SafetensorsError(
    "UNSUPPORTED",
    `${group} inputs cannot share a scale: a positive number, or -1 for all`,
  );
}
