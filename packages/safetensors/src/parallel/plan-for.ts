import { ConfigReader, type ModelConfig, unknownModel } from "./config.ts";
import { ParallelPlan } from "./plan.ts";
import { HEAD_AWARE_TYPES, headAwareRules } from "./plans/head-aware.ts";
import { TRANSFORMERS_PLANS } from "./plans/transformers.ts";

/** Whose rules. */
export interface PlanForOptions {
  /**
   * `vllm`: attention is cut between heads, key heads are shared where they are fewer than the ranks, matrices in
   * one are cut each on its own (vLLM, Megatron). `transformers`: its own plan, word for word, which cuts through
   * key heads if these are fewer than the ranks. `vllm` if not given.
   */
  readonly rules?: "vllm" | "transformers";
  /** For `vllm`: the vocabulary is padded with zeros to a multiple of this (vLLM: 64). Not padded if not given. */
  readonly vocabularyMultiple?: number;
}

/**
 * The plan for a model by its config.json: for llama, mistral, mixtral, qwen2, qwen3, qwen2_moe, qwen3_moe, gemma,
 * gemma2, gemma3, phi3, deepseek_v2, deepseek_v3 and gpt_oss, and by the rules of vLLM for gpt2, bloom, falcon, opt
 * and bert.
 *
 * @throws `UNSUPPORTED` for a type of model that no plan is known for; `INVALID_SLICE` for a field that is missing
 *   or no count, which is named
 */
export function planFor(config: ModelConfig, options: PlanForOptions = {}): ParallelPlan {
  const reader = new ConfigReader(config);
  const ofTransformers = options.rules === "transformers";
  const rules = ofTransformers ? TRANSFORMERS_PLANS.get(reader.modelType) : headAwareRules(reader, options);
  if (rules) return new ParallelPlan(rules);
  throw unknownModel(reader.modelType, ofTransformers ? TRANSFORMERS_PLANS.keys() : HEAD_AWARE_TYPES);
}
