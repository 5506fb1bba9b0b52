import type { Dtype } from "../../dtype/dtype.ts";
import { quote } from "../../errors.ts";
import type { Fields } from "../config.ts";
import { fieldsOf } from "../config.ts";
import type { WeightQuantizer } from "./quantizer.ts";
import { namedReason } from "./skip-names.ts";

/** What has to be known of a tensor to choose whether it is quantised. */
export interface TensorFacts {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** Why a tensor is not quantised; nothing if it is. */
export type SkipReason<T extends TensorFacts = TensorFacts> = (tensor: T) => string | undefined;

/** Which tensors of a checkpoint are quantised. */
export interface WeightChoice<T extends TensorFacts = TensorFacts> {
  readonly quantized: readonly T[];
  /** The others, by name, each with the reason in a few words. */
  readonly skipped: ReadonlyMap<string, string>;
  /** Modules that have a matrix that stays dense, without `.weight`: what configurations list. */
  readonly dense: readonly string[];
}

/**
 * Why a tensor cannot be quantised at all: it is no matrix of floats that a module calls its weight, or the scheme
 * does not take its shape.
 */
export function misfitReason(quantizer: WeightQuantizer): SkipReason {
  return ({ name, dtype, shape }) => {
    if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16" && dtype !== "F64") return `is of ${dtype}`;
    if (shape.length !== 2) return `has ${shape.length} dimensions`;
    if (!/(?:^|\.)weight$/.test(name)) return "is not the weight of a module";
    const parts = quantizer.describe(shape, dtype);
    return typeof parts === "string" ? parts : undefined;
  };
}

/**
 * What is not quantised unless it is asked for: heads, embeddings, routers of experts, towers for images and sound,
 * layers that predict further tokens, small projections of linear attention.
 *
 * @param model fields of config.json
 */
export function usualReason(model: Fields = new Map()): SkipReason {
  const text = fieldsOf(model.get("text_config")) ?? model;
  const layers = numberOf(text.get("num_nextn_predict_layers")) ? numberOf(text.get("num_hidden_layers")) : 0;
  const isTransposed = TRANSPOSED_MODELS.has(String(text.get("model_type")));
  return ({ name }) => {
    const module = name.replace(/\.weight$/, "");
    const layer = /^(?:model\.)?(?:language_model\.)?(?:model\.)?layers\.(\d+)\./.exec(name)?.[1];
    if (layers > 0 && layer !== undefined && Number(layer) >= layers)
      return "is of a layer that predicts further tokens";
    if (isTransposed && /(?:^|\.)(?:c_attn|c_fc|c_proj|q_attn)$/.test(module))
      return "is stored as [in, out], which schemes do not expect";
    return namedReason(module);
  };
}

/** Models whose layers are GPT-2's Conv1D. */
const TRANSPOSED_MODELS: ReadonlySet<string> = new Set([
  "gpt2",
  "openai-gpt",
  "imagegpt",
  "decision_transformer",
]);

const numberOf = (value: unknown): number => (typeof value === "number" ? value : 0);

/**
 * Goes through the tensors of a checkpoint. Matrices that are run as one, such as q, k and v, or all experts of a
 * layer, are quantised together or not at all.
 *
 * @param reason why a tensor stays as it is; a reason against one of several that are run as one holds for all
 */
export function chooseWeights<T extends TensorFacts>(
  tensors: Iterable<T>,
  reason: SkipReason<T>,
): WeightChoice<T> {
  const all = [...tensors];
  const reasons = all.map(reason);
  const againstGroup = new Map<string, string>();
  for (const [i, tensor] of all.entries()) {
    const group = runAsOne(tensor.name);
    if (group !== undefined && reasons[i] !== undefined && isMatrix(tensor) && !againstGroup.has(group))
      againstGroup.set(group, tensor.name);
  }
  const skipped = new Map<string, string>();
  const quantized: T[] = [];
  for (const [i, tensor] of all.entries()) {
    const other = againstGroup.get(runAsOne(tensor.name) ?? "");
    const why =
      reasons[i] ??
      (other === undefined ? undefined : `is run as one with ${quote(other)}, which stays dense`);
    if (why === undefined) quantized.push(tensor);
    else skipped.set(tensor.name, why);
  }
  const dense = all.filter((tensor) => skipped.has(tensor.name) && isMatrix(tensor));
  return { quantized, skipped, dense: dense.map(({ name }) => name.replace(/\.weight$/, "")) };
}

const isMatrix = ({ name, shape }: TensorFacts): boolean =>
  shape.length === 2 && /(?:^|\.)weight$/.test(name);

/** Last modules of matrices that are run as one. */
const TOGETHER: ReadonlyMap<string, string> = new Map([
  ["q_proj", "qkv"],
  ["k_proj", "qkv"],
  ["v_proj", "qkv"],
  ["query", "qkv"],
  ["key", "qkv"],
  ["value", "qkv"],
  ["gate_proj", "gate_up"],
  ["up_proj", "gate_up"],
  ["w1", "w13"],
  ["w3", "w13"],
  ["q_a_proj", "qkv_a"],
  ["kv_a_proj_with_mqa", "qkv_a"],
]);

/**
 * A name for all weights that are quantised together or not at all, the same for each of them; nothing if it is alone.
 * Those of experts are more than share a scale: see `sharesScale`.
 */
function runAsOne(name: string): string | undefined {
  const experts = /^(.*\.experts)\.\d+\./.exec(name)?.[1];
  return experts ?? sharesScale(name);
}

/** A name for the few weights that runtimes put into one matrix, such as q, k and v, or gate and up of one expert. */
export function sharesScale(name: string): string | undefined {
  if (!name.endsWith(".weight")) return undefined;
  const module = name.slice(0, -".weight".length);
  const last = module.lastIndexOf(".") + 1;
  const together = TOGETHER.get(module.slice(last));
  return together && `${module.slice(0, last)}${together}`;
}
