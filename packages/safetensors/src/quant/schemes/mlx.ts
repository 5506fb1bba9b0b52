import type { TensorHandle } from "../../checkpoint/tensor.ts";
import { elementCount } from "../../dtype/dtype.ts";
import { type Fields, fieldsOf } from "../config.ts";
import type { KernelCall } from "../kernels/call.ts";
import type { Finder, ModuleTensors, Scheme } from "../scheme.ts";
import type { PartData } from "../weight.ts";
import { wordsOf } from "./gptq-words.ts";
import { along, alongRuns, floatsIn, hasShape, partOf, shown } from "./pieces.ts";
import { byteTable, E2M1, ownBytes, valuesOf } from "./scales.ts";

type Mode = "affine" | "mxfp4" | "nvfp4" | "mxfp8";

/** What the modes that are named after formats of others say of bits and groups, and the dtype that their scales are. */
const FLOAT_MODES = {
  mxfp4: { bits: 4, group: 32, scales: "F8_E8M0" },
  nvfp4: { bits: 4, group: 16, scales: "F8_E4M3" },
  mxfp8: { bits: 8, group: 32, scales: "F8_E8M0" },
} as const;

interface Layer {
  readonly mode: Mode;
  readonly bits: number;
  readonly group: number;
}

/**
 * MLX: `weight` U32 `[…, rows, words]`, each row a dense stream of codes with the lowest bits first, and `scales`
 * `[…, rows, groups]`. Mode `affine` has `biases`, too: `w = q * scale + bias`. Bits and groups stand in the field
 * `quantization` of config.json, for single modules under their names; sizes alone do not tell 4 bits in groups of 64 from
 * 8 bits in groups of 32.
 *
 * With 16-bit scales MLX on a CPU rounds the product and the sum, here only the sum is rounded, as a GPU with fused
 * multiply-add does: the two differ by at most one rounding of the product.
 */
export const MLX: Scheme = {
  name: "mlx",
  claims: ({ method, fields }) => method === undefined && fields.has("group_size") && fields.has("bits"),
  find(finder) {
    const isKnown = finder.config !== undefined && MLX.claims(finder.config);
    for (const [module, tensors] of finder.modules()) {
      const [weight, scales] = [tensors.get("weight"), tensors.get("scales")];
      if (weight?.dtype !== "U32" || !scales) continue;
      if (isKnown) findWeight(finder, module, tensors, weight, scales);
      else {
        const text = `is ${shown(weight)} with scales ${shown(scales)}, as MLX has them: without "quantization" in config.json bits and groups are not known`;
        finder.problem(weight.name, `${text}; the layer is left as it is`);
      }
    }
  },
};

function findWeight(
  finder: Finder,
  module: string,
  tensors: ModuleTensors,
  weight: TensorHandle,
  scales: TensorHandle,
): void {
  const layer = layerOf(finder.config!.fields, module);
  if (typeof layer === "string") {
    finder.problem(weight.name, `${layer}; the layer is left as it is`);
    return;
  }
  const { mode, bits, group } = layer;
  const biases = tensors.get("biases");
  const rows = weight.shape.slice(0, -1);
  const last = rows.length;
  const columns = (weight.shape[last]! * 32) / bits;
  const grouped = [...rows, columns / group];
  const haveDtypes =
    mode === "affine"
      ? floatsIn(scales) && biases?.dtype === scales.dtype && hasShape(biases, grouped)
      : scales.dtype === "U8" && !biases;
  if (rows.length === 0 || !Number.isInteger(columns / group) || !hasShape(scales, grouped) || !haveDtypes) {
    const there = `scales ${shown(scales)}, biases ${shown(biases)}`;
    const expected = `[${grouped}] for ${mode} of ${bits} bits in groups of ${group}`;
    finder.problem(
      weight.name,
      `is ${shown(weight)} with ${there}, expected ${expected}; it is left as it is`,
    );
    return;
  }
  const before = rows.map((_, axis) => along(axis));
  const perGroup = [...before, along(last, group)];
  finder.add({
    name: weight.name,
    scheme: "mlx",
    shape: [...rows, columns],
    bits,
    group: [group],
    symmetric: mode !== "affine",
    notes: [mode],
    dense: (mode === "affine" && floatsIn(scales)) || "BF16",
    parts: [
      partOf("weight", weight, [...before, alongRuns(last, bits, 32)]),
      partOf("scales", scales, perGroup),
      ...(biases ? [partOf("biases", biases, perGroup)] : []),
    ],
    decode: (parts, shape) => call(layer, parts, elementCount(shape.slice(0, -1)), shape.at(-1)!),
  });
}

/** What the configuration says of a module: its own fields where it has some, else those of all. */
function layerOf(all: Fields, module: string): Layer | string {
  const own = all.get(module);
  if (own === false) return "is quantised, and config.json says that it is not";
  const fields = fieldsOf(own) ?? all;
  const mode = fields.get("mode") ?? "affine";
  if (mode !== "affine" && mode !== "mxfp4" && mode !== "nvfp4" && mode !== "mxfp8")
    return "has a mode that is none of affine, mxfp4, nvfp4, mxfp8";
  const [bits, group] = [fields.get("bits"), fields.get("group_size")];
  if (mode !== "affine") {
    const usual = FLOAT_MODES[mode];
    const isUsual = (bits ?? usual.bits) === usual.bits && (group ?? usual.group) === usual.group;
    return isUsual
      ? { mode, ...usual }
      : `is of mode ${mode}, which has ${usual.bits} bits in groups of ${usual.group}; config.json has others`;
  }
  const areCounts = Number.isSafeInteger(bits) && Number.isSafeInteger(group);
  if (!areCounts || ![2, 3, 4, 5, 6, 8].includes(bits as number) || (group as number) < 1)
    return "has no bits of 2, 3, 4, 5, 6 or 8, and group_size, in config.json";
  return { mode, bits: bits as number, group: group as number };
}

function call(
  { mode, bits, group }: Layer,
  parts: ReadonlyMap<string, PartData>,
  rows: number,
  columns: number,
): KernelCall {
  const [weight, scales] = [parts.get("weight")!, parts.get("scales")!];
  if (mode === "affine") {
    return {
      kernel: "packed-rows",
      rows,
      columns,
      bits,
      words: wordsOf(weight.bytes),
      scales: valuesOf(scales),
      zeros: 0,
      biases: valuesOf(parts.get("biases")!),
      groups: group,
    };
  }
  const codes = ownBytes(weight);
  const floats = valuesOf({ ...scales, dtype: FLOAT_MODES[mode].scales });
  return mode === "mxfp8"
    ? {
        kernel: "scaled-bytes",
        rows,
        columns,
        codes,
        table: byteTable("F8_E4M3"),
        scales: floats,
        blockRows: 1,
        blockColumns: group,
      }
    : {
        kernel: "scaled-nibbles",
        rows,
        columns,
        codes,
        highFirst: false,
        table: E2M1,
        scales: floats,
        block: group,
      };
}
