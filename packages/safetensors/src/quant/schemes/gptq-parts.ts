import type { TensorHandle } from "../../checkpoint/tensor.ts";
import { type FloatDtype, isFloatDtype } from "../../dtype/cast.ts";
import type { AxisLink, Part } from "../weight.ts";

/** Axes of a weight: outputs and inputs. */
export const OUT = 0;
export const IN = 1;

/** An axis that is one of the weight, index by index. */
export function each(axis: number): AxisLink {
  return { axis, every: 1, takes: 1 };
}

/** A stored tensor as a part of a weight. */
export function part(role: string, { name, dtype, shape }: TensorHandle, links: Part["links"]): Part {
  return { role, name, dtype, shape, links };
}

/** Name of the dense weight of a module. */
export function weightName(module: string): string {
  return module === "" ? "weight" : `${module}.weight`;
}

/** The dtype of scales, which the dense weight has too; or, as a text, what is wrong with it. */
export function scalesDtype({ dtype }: TensorHandle): { readonly dense: FloatDtype } | string {
  const isKnown = isFloatDtype(dtype) && (dtype === "F16" || dtype === "BF16" || dtype === "F32");
  return isKnown ? { dense: dtype } : `scales are ${dtype}, expected F16, BF16 or F32`;
}
