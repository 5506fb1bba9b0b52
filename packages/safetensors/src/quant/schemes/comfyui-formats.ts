import type { TensorHandle } from "../../checkpoint/tensor.ts";
import { quote } from "../../errors.ts";
import type { Fields } from "../config.ts";
import type { Finder } from "../scheme.ts";
import type { QuantizedWeight } from "../weight.ts";
import { type Tiled, tiledWeight } from "./comfyui-tiled.ts";
import { floatsIn, shown } from "./pieces.ts";
import { scaledBytes } from "./scaled-bytes.ts";
import { denseDtype } from "./scales.ts";

/** Formats of ComfyUI that are not taken apart here, and what they are. */
const REFUSED: ReadonlyMap<string, string> = new Map([
  ["convrot_w4a4", "4-bit integers of rotated columns"],
  ["asym_w4a8_int8", "4-bit codes of a codebook, scaled, rounded to 8 bits and rotated"],
  ["awq_w4a16", "4-bit integers in the order of AWQ's kernel"],
]);

/** A layer that a format of ComfyUI makes, a problem, or why the format is refused. */
export function comfyFormat(
  finder: Finder,
  module: string,
  fields: Fields,
): QuantizedWeight | string | { readonly refused: string } {
  const format = fields.get("format");
  const weight = finder.tensor(`${module}.weight`);
  if (!weight) return "has no weight";
  switch (format) {
    case "scaled_fp8":
      return scaled(finder, module, weight, ["F8_E4M3", "F8_E5M2"], "scale_weight", "scale_input");
    case "float8_e4m3fn":
      return scaled(finder, module, weight, ["F8_E4M3"], "weight_scale", "input_scale");
    case "float8_e5m2":
      return scaled(finder, module, weight, ["F8_E5M2"], "weight_scale", "input_scale");
    case "int8_tensorwise":
      if (fields.get("convrot") === true)
        return refusal(format, "8-bit integers of columns that are rotated in groups");
      return scaled(finder, module, weight, ["I8"], "weight_scale", "input_scale");
    case "nvfp4":
    case "mxfp8":
      return tiled(finder, module, weight, format);
    default: {
      const what = typeof format === "string" ? REFUSED.get(format) : undefined;
      if (what !== undefined) return refusal(format as string, what);
      return `is of format ${typeof format === "string" ? quote(format) : "unknown"}, which is not known`;
    }
  }
}

function refusal(format: string, what: string): { readonly refused: string } {
  return {
    refused: `${format}: ${what}; take the file before quantisation, or dequantise it with comfy-kitchen`,
  };
}

/** One scale for all, or one for each row: `w = q * scale`. Older files have a scale of `scale_weight` only where it is not 1. */
function scaled(
  finder: Finder,
  module: string,
  weight: TensorHandle,
  dtypes: readonly string[],
  scaleName: string,
  inputName: string,
): QuantizedWeight | string {
  // Files that were made from older ones keep the older name.
  const scale = finder.tensor(`${module}.${scaleName}`) ?? finder.tensor(`${module}.scale_weight`);
  if (!dtypes.includes(weight.dtype) || !scale || !floatsIn(scale))
    return `is ${shown(weight)} with ${scaleName} ${shown(scale)}, expected ${dtypes.join(" or ")} with floats`;
  return scaledBytes({
    scheme: "comfyui",
    weight,
    scale,
    block: [1, weight.shape.at(-1) ?? 1],
    dense: denseDtype(finder.config, "BF16"),
    besides: besidesOf(finder, module, [inputName, "scale_input"]),
    notes: [weight.dtype === "I8" ? "int8_tensorwise" : "fp8"],
  });
}

function tiled(
  finder: Finder,
  module: string,
  weight: TensorHandle,
  format: Tiled["format"],
): QuantizedWeight | string {
  const scale = finder.tensor(`${module}.weight_scale`);
  const global = finder.tensor(`${module}.weight_scale_2`);
  const bias = finder.tensor(`${module}.bias`);
  const weightOf = tiledWeight({
    format,
    weight,
    scale,
    global,
    biasLength: bias?.length,
    dense: denseDtype(finder.config, "BF16"),
  });
  if (typeof weightOf === "string") return weightOf;
  return { ...weightOf, besides: besidesOf(finder, module, ["input_scale", "pre_quant_scale"]) };
}

function besidesOf(finder: Finder, module: string, lasts: readonly string[]): string[] {
  return [...new Set(lasts)].flatMap((last) => finder.tensor(`${module}.${last}`)?.name ?? []);
}
