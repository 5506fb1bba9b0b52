import type { Recipe, RecipeStep } from "../recipe.ts";
import { HEADS } from "./attention.ts";

/** Meta's names of a layer, and Hugging Face's, that only differ. */
const LAYER_NAMES: readonly (readonly [meta: string, huggingFace: string])[] = [
  ["attention.wv", "self_attn.v_proj"],
  ["attention.wo", "self_attn.o_proj"],
  ["feed_forward.w1", "mlp.gate_proj"],
  ["feed_forward.w2", "mlp.down_proj"],
  ["feed_forward.w3", "mlp.up_proj"],
  ["attention_norm", "input_layernorm"],
  ["ffn_norm", "post_attention_layernorm"],
];

function renamed(from: string, to: string): RecipeStep {
  return { from: [from], to: [to] };
}

/** Llama as Meta publishes it (one rank) and as Hugging Face has it: other names, and the rows of q and k permuted. */
export const metaLlama: Recipe = {
  version: 1,
  name: "meta-llama",
  description:
    "Llama of Meta (layers.0.attention.wq …, one file) to that of Hugging Face (model.layers.0.self_attn.q_proj …)",
  variables: HEADS,
  steps: [
    renamed("tok_embeddings.weight", "model.embed_tokens.weight"),
    renamed("norm.weight", "model.norm.weight"),
    // Small ones share it with the embeddings.
    { ...renamed("output.weight", "lm_head.weight"), optional: true },
    {
      from: ["layers.{layer}.attention.wq.weight"],
      to: ["model.layers.{layer}.self_attn.q_proj.weight"],
      ops: [{ op: "permuteRope", heads: "{num_attention_heads}" }],
    },
    {
      from: ["layers.{layer}.attention.wk.weight"],
      to: ["model.layers.{layer}.self_attn.k_proj.weight"],
      ops: [{ op: "permuteRope", heads: "{num_key_value_heads}" }],
    },
    ...LAYER_NAMES.map(([meta, huggingFace]) =>
      renamed(`layers.{layer}.${meta}.weight`, `model.layers.{layer}.${huggingFace}.weight`),
    ),
    // A table that is worked out anew.
    { from: ["rope.freqs"], optional: true },
  ],
};

/** GPT-2 keeps the weights of its Conv1D as [in, out], where Linear has [out, in]. */
export const gpt2Linear: Recipe = {
  version: 1,
  name: "gpt2-linear",
  description: "GPT-2: the weights of Conv1D, [in, out], transposed to those of Linear, [out, in]",
  steps: ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"].map((module) => ({
    from: [`{model...}.h.{layer}.${module}.weight`],
    to: [`{model...}.h.{layer}.${module}.weight`],
    ops: [{ op: "transpose", axes: [1, 0] } as const],
  })),
};
