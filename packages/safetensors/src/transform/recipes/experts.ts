import type { Recipe } from "../recipe.ts";

/**
 * Experts of Mixtral and MiniMax, one tensor each, stacked as transformers 5 has them: `gate_up_proj` is
 * [experts, 2 · intermediate, hidden], `down_proj` is [experts, hidden, intermediate].
 */
export const mixtralExperts: Recipe = {
  version: 1,
  name: "mixtral-experts",
  description:
    "Mixtral: experts one by one (w1, w2, w3) to stacked gate_up_proj and down_proj (transformers 5)",
  steps: [
    {
      from: [
        "{model...}.block_sparse_moe.experts.{expert}.w1.weight",
        "{model...}.block_sparse_moe.experts.{expert}.w3.weight",
      ],
      to: ["{model...}.mlp.experts.gate_up_proj"],
      ops: [
        { op: "stack", over: "expert", axis: 0 },
        { op: "concat", axis: 1, sizes: "equal" },
      ],
    },
    {
      from: ["{model...}.block_sparse_moe.experts.{expert}.w2.weight"],
      to: ["{model...}.mlp.experts.down_proj"],
      ops: [{ op: "stack", over: "expert", axis: 0 }],
    },
    { from: ["{model...}.block_sparse_moe.gate.weight"], to: ["{model...}.mlp.gate.weight"] },
    {
      from: ["{model...}.block_sparse_moe.e_score_correction_bias"],
      to: ["{model...}.mlp.e_score_correction_bias"],
      optional: true,
    },
  ],
};

/** The same for Qwen, DeepSeek, GLM, OLMoE and others that name their experts `mlp.experts.{expert}.gate_proj`. */
export const qwenExperts: Recipe = {
  version: 1,
  name: "qwen-experts",
  description:
    "Qwen, DeepSeek, GLM …: experts one by one (gate_proj, up_proj, down_proj) to stacked gate_up_proj and down_proj (transformers 5)",
  steps: [
    {
      from: [
        "{model...}.mlp.experts.{expert}.gate_proj.weight",
        "{model...}.mlp.experts.{expert}.up_proj.weight",
      ],
      to: ["{model...}.mlp.experts.gate_up_proj"],
      ops: [
        { op: "stack", over: "expert", axis: 0 },
        { op: "concat", axis: 1, sizes: "equal" },
      ],
    },
    {
      from: ["{model...}.mlp.experts.{expert}.down_proj.weight"],
      to: ["{model...}.mlp.experts.down_proj"],
      ops: [{ op: "stack", over: "expert", axis: 0 }],
    },
  ],
};

/** GPT-OSS has gate and up in turns along the last axis of `gate_up_proj` [experts, hidden, 2 · intermediate]. */
export const gptOssGateUp: Recipe = {
  version: 1,
  name: "gpt-oss-gate-up",
  description: "GPT-OSS: gate_up_proj, whose columns take turns, to gate_proj and up_proj",
  steps: [
    {
      from: ["{model...}.mlp.experts.gate_up_proj"],
      to: ["{model...}.mlp.experts.gate_proj", "{model...}.mlp.experts.up_proj"],
      ops: [{ op: "deinterleave", axis: 2 }],
    },
    {
      from: ["{model...}.mlp.experts.gate_up_proj_bias"],
      to: ["{model...}.mlp.experts.gate_proj_bias", "{model...}.mlp.experts.up_proj_bias"],
      ops: [{ op: "deinterleave", axis: 1 }],
      optional: true,
    },
  ],
};
