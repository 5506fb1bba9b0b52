import { SafetensorsError } from "../../errors.ts";
import { EXPANSION_ALLOWANCE, MAX_EXPANSION } from "../../limits.ts";

interface Sized {
  readonly byteLength: number;
}

/**
 * Refuses an output that is out of proportion to its input, unless it is small.
 *
 * @throws `LIMIT_EXCEEDED` (`MAX_EXPANSION`)
 */
export function checkExpansion(inputs: readonly Sized[], outputs: readonly Sized[]): void {
  const [input, output] = [inputs, outputs].map((parts) =>
    parts.reduce((total, { byteLength }) => total + byteLength, 0),
  ) as [number, number];
  if (output <= Math.max(MAX_EXPANSION * input, EXPANSION_ALLOWANCE)) return;
  const text = `${input} bytes of input would become ${output}: tensors repeat the same data over and over, or the input is compressed`;
  throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_EXPANSION" });
}
