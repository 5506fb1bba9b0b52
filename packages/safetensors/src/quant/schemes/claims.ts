import type { QuantConfig } from "../config.ts";

/** Whether a configuration is of compressed-tensors. */
export function isCompressedTensors({ method }: QuantConfig): boolean {
  return method === "compressed-tensors" || method === "sparseml";
}

/** Whether a configuration is of ModelOpt. */
export function isModelOpt({ method }: QuantConfig): boolean {
  return method?.startsWith("modelopt") === true;
}
