import type { TensorHandle } from "../../checkpoint/tensor.ts";
import { quote } from "../../errors.ts";
import type { Finder, ModuleTensors, Scheme } from "../scheme.ts";
import type { QuantizedWeight } from "../weight.ts";
import { isCompressedTensors, isModelOpt } from "./claims.ts";
import { type GroupsConfig, groupsOf, type WeightArgs } from "./compressed-tensors/config.ts";
import { packQuantized } from "./compressed-tensors/pack-quantized.ts";
import { sixBits } from "./compressed-tensors/six-bits.ts";
import { isBesides, nameIn, takeLoose } from "./fp8-pairs.ts";
import { isByteWeight, scaledBytes } from "./scaled-bytes.ts";
import { scaledNibbles } from "./scaled-nibbles.ts";
import { denseDtype } from "./scales.ts";

const NAME = "compressed-tensors";

/** Tensors for inputs and outputs of a module. */
const OF_ACTIVATIONS = /^(input|output|q|k|v)_(scale|zero_point|global_scale|g_idx)$/;

/** Tensors that belong to a weight that was not compressed. */
const OF_WEIGHTS: ReadonlySet<string> = new Set([
  "weight_scale",
  "weight_zero_point",
  "weight_g_idx",
  "weight_global_scale",
]);

/** Formats that no longer have a decompressor, and the tensors that tell them. */
const GONE: readonly (readonly [format: string, tensors: readonly string[], why: string])[] = [
  ["marlin-24", ["weight_packed", "scale_packed", "meta"], "is laid out for one kernel of GPUs"],
  [
    "sparse-bitmask",
    ["compressed", "bitmask", "row_offsets"],
    "is sparse, and compressed-tensors no longer reads it",
  ],
  ["sparse-24-bitmask", ["compressed", "bitmask"], "is sparse, and compressed-tensors no longer reads it"],
];

/**
 * compressed-tensors (llm-compressor, vLLM): what its configuration says of groups of modules, held against names, dtypes
 * and shapes. Formats: pack-, int-, float- and naive-quantized, nvfp4-, mxfp4- and mxfp6-pack-quantized, mxfp8-quantized,
 * and several of them in one checkpoint.
 */
export const COMPRESSED_TENSORS: Scheme = {
  name: NAME,
  claims: isCompressedTensors,
  async find(finder) {
    const { config } = finder;
    // What its own scheme has not taken does not fit it: then it is of no other.
    if (config && isModelOpt(config)) return;
    const isClaimed = config !== undefined && isCompressedTensors(config);
    const groups = groupsOf(finder, isClaimed ? config : undefined);
    let found = false;
    for (const [module, tensors] of finder.modules()) {
      const gone = GONE.find(([, names]) => names.every((one) => tensors.has(one)));
      if (gone) {
        const own = [...tensors.keys()].filter((last) => last !== "bias").map(nameIn(module));
        finder.refuse(`${NAME} (${gone[0]})`, `${gone[0]} ${gone[2]}`, own);
        continue;
      }
      const stored = tensors.get("weight_packed") ?? weightOf(tensors, isClaimed);
      if (!stored) continue;
      const made = await weightIn(finder, module, tensors, stored, groups);
      if (typeof made === "string") finder.problem(stored.name, made);
      else {
        found = true;
        finder.add(made);
        if (groups.isIgnored(module))
          finder.problem(
            made.name,
            `is stored as ${NAME}, and ${config!.place}.ignore lists its module: it is read as it is stored`,
          );
      }
    }
    if (isClaimed) takeUncompressed(finder);
    if (found) takeLoose(finder);
  },
};

/** A weight of bytes. Without a configuration, F8 is left to the schemes that have nothing else. */
function weightOf(tensors: ModuleTensors, isClaimed: boolean): TensorHandle | undefined {
  const weight = tensors.get("weight");
  if (!weight || !tensors.has("weight_scale") || !isByteWeight(weight.dtype)) return undefined;
  return isClaimed || weight.dtype === "I8" ? weight : undefined;
}

function weightIn(
  finder: Finder,
  module: string,
  tensors: ModuleTensors,
  stored: TensorHandle,
  groups: GroupsConfig,
): QuantizedWeight | string | Promise<QuantizedWeight | string> {
  const args = groups.argsOf(module);
  const isInteger = stored.dtype === "I32" || stored.dtype === "I8";
  if (args.type !== undefined && isInteger !== (args.type === "int"))
    return `is ${stored.dtype}, and the configuration says that weights are of type ${args.type}: it stays as it is stored`;
  const besides = [...tensors.keys()].filter((one) => OF_ACTIVATIONS.test(one)).map(nameIn(module));
  if (stored.dtype === "I32" && stored !== tensors.get("weight"))
    return packQuantized(finder, module, tensors, args, groups.packsDensely, besides);
  const scale = tensors.get("weight_scale");
  if (!scale) return `has no weight_scale beside it: it stays as it is stored`;
  const dense = denseDtype(finder.config, scale.dtype);
  if (stored === tensors.get("weight")) {
    const zeros = tensors.get("weight_zero_point");
    return scaledBytes({ scheme: NAME, weight: stored, scale, zeros, block: args.block, dense, besides });
  }
  return smallFloats(nameIn(module)("weight"), tensors, stored, scale, args, dense, besides);
}

/** F4 and F6, packed into bytes. */
function smallFloats(
  name: string,
  tensors: ModuleTensors,
  packed: TensorHandle,
  scale: TensorHandle,
  { bits, group }: WeightArgs,
  dense: QuantizedWeight["dense"],
  besides: readonly string[],
): QuantizedWeight | string {
  const stays = "the weight stays as it is stored";
  if (packed.dtype !== "U8")
    return `is ${packed.dtype} of shape [${packed.shape}], expected I32 (integers), or U8 (F4 and F6): ${stays}`;
  const zeros = tensors.get("weight_zero_point");
  if (zeros) return `has zero points ${quote(zeros.name)}, which F4 and F6 do not have: ${stays}`;
  const isExponents = scale.dtype === "U8" || scale.dtype === "F8_E8M0";
  const columns = packed.shape.at(-1) ?? 0;
  const isSix = isExponents && columns * 4 === (scale.shape.at(-1) ?? 0) * 32 * 3;
  if (bits !== undefined && bits !== (isSix ? 6 : 4))
    return `looks like F${isSix ? 6 : 4}, and the configuration says ${bits} bits: ${stays}`;
  if (isSix) return sixBits(name, packed, scale, dense, besides);
  const global = tensors.get("weight_global_scale");
  if (!isExponents && !global)
    return `has no weight_global_scale beside it, which scales of ${scale.dtype} need: ${stays}`;
  return scaledNibbles({
    ...{ scheme: NAME, name, weight: packed, scale, dense, besides },
    block: group ?? (isExponents ? 32 : 16),
    globalScale: global && { tensor: global, how: "divide" },
    notes: [isExponents ? "MXFP4" : "NVFP4"],
  });
}

/** Takes what belongs to quantisation beside weights that are dense. */
function takeUncompressed(finder: Finder): void {
  for (const [module, tensors] of finder.modules()) {
    const weight = tensors.get("weight");
    if (weight?.dtype !== "F32" && weight?.dtype !== "F16" && weight?.dtype !== "BF16") continue;
    for (const last of tensors.keys())
      if (OF_WEIGHTS.has(last) || OF_ACTIVATIONS.test(last) || isBesides(last))
        finder.take(nameIn(module)(last));
  }
}
