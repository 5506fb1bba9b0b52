import type { TensorHandle } from "../../checkpoint/tensor.ts";
import { type Fields, fieldsOf } from "../config.ts";
import type { Finder, Scheme } from "../scheme.ts";
import { comfyFormat } from "./comfyui-formats.ts";
import { statedFields, statedJson } from "./stated-json.ts";

/** What ComfyUI's file says of a layer, and the tensor that says it. */
interface Layer {
  readonly fields: Fields;
  readonly marker?: TensorHandle;
}

/**
 * ComfyUI says in one of three ways how a layer is quantised: a tensor `comfy_quant` beside the weight, bytes of JSON with
 * its `format`; `_quantization_metadata` in the header, JSON with the same for all layers; or, in older files, a tensor
 * `scaled_fp8` whose dtype is that of the weights, each with its `scale_weight`.
 */
export const COMFYUI: Scheme = {
  name: "comfyui",
  claims: () => false,
  async find(finder) {
    const stated = statedLayers(finder);
    const old = oldPrefixes(finder);
    for (const [module, tensors] of finder.modules()) {
      const marker = tensors.get("comfy_quant");
      const isOld = tensors.has("scale_weight") && old.some((prefix) => module.startsWith(prefix));
      let layer: Layer | undefined = stated.get(module);
      if (marker) {
        const fields = await statedFields(finder, marker);
        layer = fields && { fields, marker };
        if (!fields) finder.refuse("comfyui", "its comfy_quant cannot be read", namesOf(finder, module));
      } else if (isOld && !layer) layer = { fields: new Map([["format", "scaled_fp8"]]) };
      if (layer) findLayer(finder, module, layer);
    }
    for (const prefix of old) finder.take(`${prefix}scaled_fp8`);
  },
};

function findLayer(finder: Finder, module: string, { fields, marker }: Layer): void {
  const found = comfyFormat(finder, module, fields);
  if (typeof found !== "string" && !("refused" in found)) {
    finder.add({ ...found, besides: [...(found.besides ?? []), ...(marker ? [marker.name] : [])] });
    return;
  }
  if (typeof found === "string") finder.problem(`${module}.weight`, `${found}; the layer is left as it is`);
  // What is not understood is hidden from other schemes, to which the same names mean something else.
  finder.refuse("comfyui", typeof found === "string" ? found : found.refused, namesOf(finder, module));
}

function namesOf(finder: Finder, module: string): string[] {
  const lasts = ["weight", "weight_scale", "weight_scale_2", "scale_weight", "comfy_quant"];
  return lasts.flatMap((last) => finder.tensor(`${module}.${last}`)?.name ?? []);
}

/** Layers of the header's metadata, by module. */
function statedLayers(finder: Finder): ReadonlyMap<string, Layer> {
  const layers = new Map<string, Layer>();
  const text = finder.checkpoint.metadata.get("_quantization_metadata");
  if (text === undefined) return layers;
  const stated = statedJson(new TextEncoder().encode(text));
  const all = "value" in stated ? fieldsOf(fieldsOf(stated.value)?.get("layers")) : undefined;
  if (!all) {
    const wrong = "wrong" in stated ? stated.wrong : "has no object of layers";
    finder.problem("_quantization_metadata", `of the header's metadata ${wrong}; it is not used`);
  }
  for (const [module, value] of all ?? []) {
    const fields = fieldsOf(value);
    if (fields) layers.set(module, { fields });
  }
  return layers;
}

/** What stands before `scaled_fp8` in the names of such tensors: nothing, or the name of a model with its dot. */
function oldPrefixes(finder: Finder): string[] {
  const prefixes: string[] = [];
  for (const [module, tensors] of finder.modules())
    if (tensors.has("scaled_fp8") && prefixes.length < 16) prefixes.push(module === "" ? "" : `${module}.`);
  return prefixes;
}
