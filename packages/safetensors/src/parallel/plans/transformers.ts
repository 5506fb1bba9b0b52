import type { StyleName } from "../style-names.ts";

type Rules = Readonly<Record<string, StyleName>>;

/** What heads have (`_tp_plan`), and the rule that transformers adds for embeddings. */
const ENDS: Rules = { embed_tokens: "embedding_rowwise", lm_head: "colwise_gather_output" };

const MLP: Rules = {
  "layers.*.mlp.gate_proj": "colwise",
  "layers.*.mlp.up_proj": "colwise",
  "layers.*.mlp.down_proj": "rowwise",
};

const ATTENTION: Rules = {
  "layers.*.self_attn.q_proj": "colwise",
  "layers.*.self_attn.k_proj": "colwise",
  "layers.*.self_attn.v_proj": "colwise",
  "layers.*.self_attn.o_proj": "rowwise",
};

const HEAD_NORMS: Rules = {
  "layers.*.self_attn.q_norm": "replicated_with_grad_allreduce",
  "layers.*.self_attn.k_norm": "replicated_with_grad_allreduce",
};

/** Experts as models have them, and as checkpoints do: one by one. */
const EXPERTS: Rules = {
  "layers.*.mlp.experts.gate_up_proj": "packed_colwise",
  "layers.*.mlp.experts.down_proj": "rowwise",
  "layers.*.mlp.experts": "moe_tp_experts",
  "layers.*.mlp.experts.*.gate_proj": "colwise",
  "layers.*.mlp.experts.*.up_proj": "colwise",
  "layers.*.mlp.experts.*.down_proj": "rowwise",
};

const MIXTRAL_EXPERTS: Rules = {
  "layers.*.mlp.experts.gate_up_proj": "packed_colwise",
  "layers.*.mlp.experts.down_proj": "rowwise",
  "layers.*.mlp.experts": "moe_tp_experts",
  "layers.*.block_sparse_moe.experts.*.w1": "colwise",
  "layers.*.block_sparse_moe.experts.*.w3": "colwise",
  "layers.*.block_sparse_moe.experts.*.w2": "rowwise",
};

const SHARED_EXPERTS: Rules = {
  "layers.*.mlp.shared_experts.gate_proj": "colwise",
  "layers.*.mlp.shared_experts.up_proj": "colwise",
  "layers.*.mlp.shared_experts.down_proj": "rowwise",
};

const LLAMA: Rules = { ...ENDS, ...ATTENTION, ...MLP };

/**
 * The plans of transformers 5.24, by model type: `base_model_tp_plan` of the configuration and `_tp_plan` of the
 * model with a head, and the same for experts as checkpoints have them.
 */
export const TRANSFORMERS_PLANS: ReadonlyMap<string, Rules> = new Map<string, Rules>([
  ["llama", LLAMA],
  ["mistral", LLAMA],
  ["qwen2", LLAMA],
  ["gemma", LLAMA],
  ["gemma2", LLAMA],
  ["gemma3", { ...LLAMA, ...HEAD_NORMS }],
  ["gemma3_text", { ...LLAMA, ...HEAD_NORMS }],
  ["qwen3", { ...LLAMA, ...HEAD_NORMS }],
  ["mixtral", { ...ENDS, ...ATTENTION, ...MIXTRAL_EXPERTS }],
  ["qwen2_moe", { ...LLAMA, ...EXPERTS }],
  ["qwen3_moe", { ...LLAMA, ...HEAD_NORMS, ...EXPERTS }],
  [
    "phi3",
    {
      ...ENDS,
      "layers.*.self_attn.qkv_proj": "colwise_gather_output",
      "layers.*.self_attn.o_proj": "rowwise_split_input",
      "layers.*.mlp.gate_up_proj": "colwise_gather_output",
      "layers.*.mlp.down_proj": "rowwise_split_input",
    },
  ],
  [
    "deepseek_v2",
    {
      ...ENDS,
      "layers.*.self_attn.q_proj": "colwise",
      "layers.*.self_attn.q_b_proj": "colwise",
      "layers.*.self_attn.kv_a_proj_with_mqa": "mla_kv_a_proj",
      "layers.*.self_attn.kv_b_proj": "colwise",
      "layers.*.self_attn.o_proj": "rowwise",
      ...EXPERTS,
      ...SHARED_EXPERTS,
      ...MLP,
    },
  ],
  ["deepseek_v3", { ...ENDS, ...EXPERTS, ...SHARED_EXPERTS, ...MLP }],
  ["gpt_oss", ENDS],
]);
