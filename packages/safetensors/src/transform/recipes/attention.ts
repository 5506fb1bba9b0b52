import type { Recipe, RecipeVariable } from "../recipe.ts";

/** Of a model's config.json; Meta's params.json has other names. */
export const HEADS: readonly RecipeVariable[] = [
  { name: "num_attention_heads", description: "heads of the queries", aliases: ["n_heads"] },
  {
    name: "num_key_value_heads",
    description: "heads of the keys and of the values",
    aliases: ["n_kv_heads", "num_kv_heads"],
    default: "{num_attention_heads}",
  },
];

const HEAD_SIZE: readonly RecipeVariable[] = [
  { name: "hidden_size", description: "width of the model", aliases: ["dim"] },
  { name: "head_dim", description: "rows of a head", default: "{hidden_size}/{num_attention_heads}" },
];

const QUERY_ROWS = "{num_attention_heads}*{head_dim}";
const KEY_ROWS = "{num_key_value_heads}*{head_dim}";

/** Phi-3 has queries, keys and values in one tensor, one after the other, and gate before up in another. */
export const phi3Fused: Recipe = {
  version: 1,
  name: "phi3-fused",
  description:
    "Llama's names to Phi-3's: q_proj, k_proj, v_proj to qkv_proj, and gate_proj, up_proj to gate_up_proj",
  variables: [...HEADS, ...HEAD_SIZE],
  steps: [
    ...["weight", "bias"].map((kind) => ({
      from: ["q", "k", "v"].map((name) => `{model...}.self_attn.${name}_proj.${kind}`),
      to: [`{model...}.self_attn.qkv_proj.${kind}`],
      ops: [{ op: "concat", axis: 0, sizes: [QUERY_ROWS, KEY_ROWS, KEY_ROWS] } as const],
      optional: kind === "bias",
    })),
    {
      from: ["{model...}.mlp.gate_proj.weight", "{model...}.mlp.up_proj.weight"],
      to: ["{model...}.mlp.gate_up_proj.weight"],
      ops: [{ op: "concat", axis: 0, sizes: "equal" }],
    },
  ],
};

/** Gate before up in one tensor: what engines make of Llama and its kin. */
export const gateUpFused: Recipe = {
  version: 1,
  name: "gate-up-fused",
  description: "gate_proj and up_proj to one gate_up_proj, gate first",
  steps: ["weight", "bias"].map((kind) => ({
    from: [`{model...}.mlp.gate_proj.${kind}`, `{model...}.mlp.up_proj.${kind}`],
    to: [`{model...}.mlp.gate_up_proj.${kind}`],
    ops: [{ op: "concat", axis: 0, sizes: "equal" } as const],
    optional: kind === "bias",
  })),
};

/** Falcon's new decoder, and Megatron, have the queries of a group before its key and its value, group by group. */
export const falconQkv: Recipe = {
  version: 1,
  name: "falcon-qkv",
  description: "Falcon (new decoder): query_key_value, group by group, to q_proj, k_proj and v_proj",
  variables: [...HEADS, ...HEAD_SIZE],
  steps: [
    {
      from: ["{model...}.self_attention.query_key_value.weight"],
      to: ["q", "k", "v"].map((name) => `{model...}.self_attention.${name}_proj.weight`),
      ops: [
        {
          op: "reshape",
          from: [-1, "{hidden_size}"],
          shape: ["{num_key_value_heads}", -1, "{hidden_size}"],
        },
        {
          op: "split",
          axis: 1,
          sizes: ["{num_attention_heads}/{num_key_value_heads}*{head_dim}", "{head_dim}", "{head_dim}"],
        },
        { op: "reshape", from: ["{num_key_value_heads}", -1, "{hidden_size}"], shape: [-1, "{hidden_size}"] },
      ],
    },
  ],
};
