import { SafetensorsError } from "../errors.ts";

/** Throws `OUT_OF_RANGE` unless an option is a whole number, and at least `least`. */
export function checkOption(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  const text = `${name} is a whole number of at least ${least}, ${value} is not possible`;
  throw new SafetensorsError("OUT_OF_RANGE", text);
}
