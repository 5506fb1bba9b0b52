import type { TensorHandle } from "../../checkpoint/tensor.ts";
import type { FloatDtype } from "../../dtype/cast.ts";
import { decodeElement } from "../../dtype/decode.ts";
import type { Finder, ModuleTensors } from "../scheme.ts";
import { torchFloat } from "../torch-floats.ts";
import { HQQ_PACKINGS, type HqqPacking } from "./hqq-codes.ts";
import { shapeIn } from "./stated-json.ts";

/** Settings of a layer that are stored as tensors, beside `W_q`, `scale` and `zero`. */
export const HQQ_SETTINGS: readonly string[] = [
  "nbits",
  "group_size",
  "shape",
  "axis",
  "packing",
  "unpack_view_dtype",
  "view_as_float",
  "compute_dtype",
  "quant_scale",
  "quant_zero",
  "channel_wise",
  "optimize",
  "round_zero",
  "offload_meta",
  "encoded_state_dict",
  "stores_quant_config",
];

/** What the settings of a layer say of its codes. */
export interface HqqMeta {
  readonly packing: HqqPacking;
  readonly groupSize: number;
  readonly axis: 0 | 1;
  readonly shape: readonly number[];
  readonly dtype: FloatDtype | undefined;
}

/** Reads the settings of a layer, or says what is wrong with them. */
export async function hqqMeta(finder: Finder, tensors: ModuleTensors): Promise<HqqMeta | string> {
  const names = ["packing", "group_size", "axis", "shape", "compute_dtype", "quant_scale", "quant_zero"];
  const read = await Promise.all(names.map((name) => smallBytes(finder, tensors.get(name))));
  const [packingText, group, axisCode, sizes, dtype, quantScale, quantZero] = read.map((bytes, i) => {
    return bytes && { tensor: tensors.get(names[i]!)!, bytes };
  });
  if (quantScale?.bytes.some(Boolean) || quantZero?.bytes.some(Boolean))
    return "says that scales or zeros are quantised themselves, which HQQ cannot store in safetensors";
  const named = textOf(packingText);
  const packing = named === undefined ? undefined : HQQ_PACKINGS.get(named);
  if (!packing) return `has no packing, or none of ${[...HQQ_PACKINGS.keys()].join(", ")}`;
  const [groupSize] = integersOf(group);
  const [axis] = integersOf(axisCode);
  const shape = shapeIn(integersOf(sizes));
  if (groupSize === undefined || !(groupSize > 0)) return "has no group_size";
  if (axis !== 0 && axis !== 1) return "has no axis that is 0 or 1";
  if (shape?.length !== 2 || shape.includes(0)) return "has no shape of two axes";
  return { packing, groupSize, axis, shape, dtype: torchFloat(textOf(dtype)) };
}

interface Setting {
  readonly tensor: TensorHandle;
  readonly bytes: Uint8Array;
}

/** The bytes of a setting, of which none has more than some dozens. */
async function smallBytes(finder: Finder, tensor: TensorHandle | undefined): Promise<Uint8Array | undefined> {
  return tensor && tensor.byteLength <= 256 ? finder.small(tensor) : undefined;
}

/** Texts are stored as one byte a character. */
function textOf(setting: Setting | undefined): string | undefined {
  return setting?.tensor.dtype === "U8" ? new TextDecoder("latin1").decode(setting.bytes) : undefined;
}

function integersOf(setting: Setting | undefined): number[] {
  if (!setting) return [];
  const { tensor, bytes } = setting;
  if (!tensor.is("I32") && !tensor.is("I64") && !tensor.is("U8")) return [];
  return Array.from({ length: tensor.length }, (_, i) => Number(decodeElement(tensor.dtype, bytes, i)));
}
