import type { TensorHandle } from "../../checkpoint/tensor.ts";
import { fieldsOf } from "../config.ts";
import type { Finder, ModuleTensors, Scheme } from "../scheme.ts";
import type { QuantizedWeight } from "../weight.ts";
import { isModelOpt } from "./claims.ts";
import { isBesides, nameIn, reportLeft, takeLoose } from "./fp8-pairs.ts";
import { rowPairs } from "./modelopt-int4.ts";
import { isByteWeight, scaledBytes } from "./scaled-bytes.ts";
import { scaledNibbles } from "./scaled-nibbles.ts";
import { denseDtype } from "./scales.ts";

const NAME = "modelopt";

/**
 * NVIDIA ModelOpt: `weight` and `weight_scale`; by the algorithm F8 or I8 (FP8 in all granularities, MXFP8, W8A16,
 * SmoothQuant), U8 with two F4 (NVFP4, with `weight_scale_2`, and MXFP4) or with two 4-bit integers (W4A16_AWQ). What
 * `pre_quant_scale` does to inputs is done to the columns of the dense weight.
 */
export const MODELOPT: Scheme = {
  name: NAME,
  claims: isModelOpt,
  find(finder) {
    const { config } = finder;
    const isClaimed = config !== undefined && isModelOpt(config);
    const misfits = new Set<string>();
    let found = false;
    for (const [module, tensors] of finder.modules()) {
      const weight = tensors.get("weight");
      const scale = tensors.get("weight_scale");
      if (!weight || !scale || !isQuantized(weight, tensors, isClaimed)) continue;
      const why = whyNot(weight, tensors);
      if (why) {
        finder.refuse(
          `${NAME} (${why[0]})`,
          why[1],
          [...tensors.keys()].filter(isOfWeight).map(nameIn(module)),
        );
        continue;
      }
      const made = weightOf(finder, module, weight, scale, tensors, isClaimed);
      if (typeof made === "string") {
        finder.problem(weight.name, made);
        misfits.add(weight.name);
      } else {
        finder.add(made);
        found = true;
      }
    }
    if (found) takeLoose(finder);
    if (isClaimed) reportLeft(finder, misfits, ({ dtype }) => dtype === "U8" || dtype.startsWith("F8_E4M3"));
  },
};

function isQuantized(weight: TensorHandle, tensors: ModuleTensors, isClaimed: boolean): boolean {
  if (isClaimed) return isByteWeight(weight.dtype) || weight.dtype === "U8";
  // ComfyUI has the same names for another order of the halves.
  if (weight.dtype !== "U8" || tensors.has("comfy_quant")) return false;
  return tensors.has("weight_scale_2") || tensors.has("pre_quant_scale");
}

function isOfWeight(last: string): boolean {
  return /^weight|^pre_quant_scale$|^svdquant_/.test(last) || isBesides(last);
}

/** Algorithms whose values are not those of the stored weight alone, or are not known for sure. */
function whyNot(weight: TensorHandle, tensors: ModuleTensors): readonly [string, string] | undefined {
  if ([...tensors.keys()].some((last) => last.startsWith("svdquant_")))
    return ["NVFP4_SVD", "adds the product of two other matrices to the weight, which is not done here"];
  const scale = tensors.get("weight_scale")!;
  if (weight.dtype === "U8" && tensors.has("weight_scale_2") && isRowPairs(weight, scale))
    return ["W4A8_AWQ", "has two scales for 4-bit integers, whose product is not known for sure"];
  return undefined;
}

/** Whether a byte holds elements of two rows, as only 4-bit integers have it. */
function isRowPairs(weight: TensorHandle, scale: TensorHandle): boolean {
  return scale.shape[0] === 2 * weight.shape[0]! && scale.dtype !== "F8_E4M3" && scale.dtype !== "U8";
}

function weightOf(
  finder: Finder,
  module: string,
  weight: TensorHandle,
  scale: TensorHandle,
  tensors: ModuleTensors,
  isClaimed: boolean,
): QuantizedWeight | string {
  const besides = [...tensors.keys()].filter(isBesides).map(nameIn(module));
  const columnFactors = tensors.get("pre_quant_scale");
  const notes = columnFactors ? ["pre_quant_scale"] : [];
  const dense = denseDtype(finder.config, scale.dtype);
  const group = isClaimed ? groupOf(finder, module) : undefined;
  const given = { scheme: NAME, weight, scale, columnFactors, dense, besides };
  if (weight.dtype !== "U8") {
    const isExponents = scale.dtype === "U8" || scale.dtype === "F8_E8M0";
    return scaledBytes({ ...given, block: isExponents ? [1, 32] : undefined, notes });
  }
  if (isRowPairs(weight, scale)) return rowPairs({ ...given, group, notes });
  const global = tensors.get("weight_scale_2");
  if (scale.dtype === "F8_E4M3" && !global)
    return "has no weight_scale_2 beside it, which scales of F8_E4M3 need: the weight stays as it is stored";
  return scaledNibbles({
    ...{ ...given, name: weight.name, block: group },
    globalScale: global && { tensor: global, how: "multiply" },
    notes: [global ? "NVFP4" : "MXFP4", ...notes],
  });
}

/** `group_size` that the configuration has for a module, or for all. */
function groupOf({ config }: Finder, module: string): number | undefined {
  const layers = fieldsOf(config?.fields.get("quantized_layers"));
  const said = (layers ? fieldsOf(layers.get(module)) : config?.fields)?.get("group_size");
  return Number.isSafeInteger(said) && (said as number) > 0 ? (said as number) : undefined;
}
