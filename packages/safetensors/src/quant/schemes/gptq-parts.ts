import type { TensorHandle } from "../../checkpoint/tensor.ts";
import type { FloatDtype } from "../../dtype/cast.ts";
import { floatsIn } from "./pieces.ts";

/** Axes of a weight: outputs and inputs. */
export const OUT = 0;
export const IN = 1;

/** Name of the dense weight of a module. */
export function weightName(module: string): string {
  return module === "" ? "weight" : `${module}.weight`;
}

/** The dtype of scales, which the dense weight has too; or, as a text, what is wrong with it. */
export function scalesDtype(scales: TensorHandle): { readonly dense: FloatDtype } | string {
  const dense = floatsIn(scales);
  return dense ? { dense } : `scales are ${scales.dtype}, expected F16, BF16 or F32`;
}
