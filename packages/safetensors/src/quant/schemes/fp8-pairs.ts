import type { TensorHandle } from "../../checkpoint/tensor.ts";
import type { Finder, ModuleTensors } from "../scheme.ts";
import type { QuantizedWeight } from "../weight.ts";
import type { Block } from "./scale-grid.ts";
import { isByteWeight, scaledBytes } from "./scaled-bytes.ts";
import { scaledNibbles } from "./scaled-nibbles.ts";
import { denseDtype } from "./scales.ts";

/** How a scheme of FP8 names its tensors, and what its configuration says. */
export interface Fp8Pairs {
  readonly scheme: string;
  /** Names of the scales of a weight, by what follows the last dot; the usual ones first. */
  scalesFor(last: string): readonly string[];
  readonly block?: Block | undefined;
  /** Whether these scales are of the scheme at all. */
  accepts?(scale: TensorHandle): boolean;
}

/** What lies beside weights for inputs, outputs and caches, by the end of its name. */
const BESIDES =
  /(^|_)(input|activation|output|act|k|v|q|kv|prob)_scale(_ub)?$|^qscale_act$|^k_zero_point$|^v_zero_point$/;

/** The same where they lie in modules without weights: such as `self_attn.k_scale`. */
const LOOSE = /^(input|output|act|q|k|v|kv|prob)_(scale|zero_point|global_scale)$/;

/** Whether a tensor with this name, after the last dot, is a scale of inputs, outputs or caches. */
export function isBesides(last: string): boolean {
  return BESIDES.test(last);
}

/**
 * Finds weights of F8, and of packed F4, that have scales beside them in their module.
 *
 * @returns the weights that do not fit their scales
 */
export function findPairs(finder: Finder, pairs: Fp8Pairs): Set<string> {
  const misfits = new Set<string>();
  let found = false;
  for (const [module, tensors] of finder.modules()) {
    for (const [last, weight] of tensors) {
      const scale = scaleOf(pairs, tensors, last);
      if (!scale || !isWeight(weight, scale)) continue;
      const made = weightOf(finder, pairs, weight, scale, besidesOf(module, tensors, last));
      if (typeof made === "string") {
        finder.problem(weight.name, made);
        misfits.add(weight.name);
      } else {
        finder.add(made);
        found = true;
      }
    }
  }
  if (found) takeLoose(finder);
  return misfits;
}

/** Takes scales of caches and inputs that lie in modules without weights. */
export function takeLoose(finder: Finder): void {
  for (const [module, tensors] of finder.modules())
    for (const last of tensors.keys()) if (LOOSE.test(last)) finder.take(nameIn(module)(last));
}

/** Scales of inputs and the like of one weight: all of its module, or what has its name in front. */
function besidesOf(module: string, tensors: ModuleTensors, last: string): string[] {
  const own =
    last === "weight"
      ? [...tensors.keys()].filter(isBesides)
      : ["activation_scale", "input_scale"].map((one) => `${last}_${one}`).filter((one) => tensors.has(one));
  return own.map(nameIn(module));
}

/**
 * Says which tensors the configuration lets expect scales of, and no scheme has taken.
 *
 * @param said those of which something was said already
 */
export function reportLeft(
  finder: Finder,
  said: ReadonlySet<string>,
  isCode: (tensor: TensorHandle) => boolean,
): void {
  for (const [, tensors] of finder.modules())
    for (const [last, tensor] of tensors)
      if (
        tensor.shape.length >= 2 &&
        isCode(tensor) &&
        !said.has(tensor.name) &&
        !/scales?(_inv|_2)?$/.test(last)
      )
        finder.problem(
          tensor.name,
          `is ${tensor.dtype}, and no scale of it is known: it stays as it is stored`,
        );
}

/** The whole name of a tensor in a module. */
export function nameIn(module: string): (last: string) => string {
  return (last) => (module === "" ? last : `${module}.${last}`);
}

/** F8, or F4 as bytes called I8, which only exponents of two are scales of. */
function isWeight({ dtype, shape }: TensorHandle, scale: TensorHandle): boolean {
  if (shape.length === 0) return false;
  if (isByteWeight(dtype) && dtype !== "I8") return true;
  return (dtype === "I8" || dtype === "F4") && (scale.dtype === "F8_E8M0" || scale.dtype === "U8");
}

function scaleOf(pairs: Fp8Pairs, tensors: ModuleTensors, last: string): TensorHandle | undefined {
  for (const name of pairs.scalesFor(last)) {
    const scale = tensors.get(name);
    if (scale && (pairs.accepts?.(scale) ?? true)) return scale;
  }
  return undefined;
}

function weightOf(
  finder: Finder,
  { scheme, block }: Fp8Pairs,
  weight: TensorHandle,
  scale: TensorHandle,
  besides: readonly string[],
): QuantizedWeight | string {
  const dense = denseDtype(finder.config, scale.dtype);
  if (weight.dtype.startsWith("F8"))
    return scaledBytes({ scheme, weight, scale, block, dense, besides, mayFollowColumns: true });
  return scaledNibbles({ scheme, name: weight.name, weight, scale, block: 32, dense, besides });
}
