"""Sizes of small models, which divide by 8 ranks but for their vocabulary."""

# A vocabulary that does not divide.
SIZES = {
    "vocab_size": 97,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "tie_word_embeddings": False,
}
LLAMA = SIZES | {"intermediate_size": 48, "num_key_value_heads": 4, "head_dim": 8, "pad_token_id": 0}
MOE = LLAMA | {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
MLA = MOE | {
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 2,
    "topk_group": 1,
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 8,
}

# By transformers' own plans.
PLANNED = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gemma": LLAMA,
    "gemma2": LLAMA,
    "gemma3_text": LLAMA,
    "phi3": LLAMA,
    "mixtral": LLAMA | {"num_local_experts": 4},
    "qwen2_moe": MOE | {"num_experts": 4, "shared_expert_intermediate_size": 40},
    "qwen3_moe": MOE | {"num_experts": 6},
    "deepseek_v2": MLA,
    "deepseek_v3": MLA,
    "gpt_oss": LLAMA | {"num_local_experts": 4},
}
