import type { TensorHandle } from "../../checkpoint/tensor.ts";
import type { AxisLink, Part } from "../weight.ts";

/** A stored tensor as a part of a weight. */
export function partOf(role: string, { name, dtype, shape }: TensorHandle, links: Part["links"]): Part {
  return { role, name, dtype, shape, links };
}

/** Every `every` indices of an axis of the weight are `takes` of the part; unless given, index by index. */
export function along(axis: number, every = 1, takes = 1): AxisLink {
  return { axis, every, takes };
}

/**
 * How a flat list with one entry for each `unit` elements follows an axis whose indices have `run` elements each: it is
 * cut where rows end together with units.
 */
export function alongRuns(axis: number, run: number, unit: number): AxisLink {
  const common = greatestCommonDivisor(run, unit);
  return { axis, every: unit / common, takes: run / common };
}

/** The dtype of a tensor that has floats of 16 or 32 bits. */
export function floatsIn({ dtype }: TensorHandle): "F32" | "F16" | "BF16" | undefined {
  return dtype === "F32" || dtype === "F16" || dtype === "BF16" ? dtype : undefined;
}

/** Whether a tensor has this shape. */
export function hasShape(tensor: TensorHandle, shape: readonly number[]): boolean {
  return tensor.shape.length === shape.length && shape.every((size, axis) => size === tensor.shape[axis]);
}

/** Dtype and shape of a tensor, for messages: `U8 [4,16]`. */
export function shown(tensor: TensorHandle | undefined): string {
  return tensor ? `${tensor.dtype} [${tensor.shape}]` : "missing";
}

/** Of whole numbers that are not both 0. */
export function greatestCommonDivisor(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y > 0) [x, y] = [y, x % y];
  return x;
}
