/** Modules that are not quantised unless it is asked for: which part of a name tells, and why. */
const BY_MODULE: readonly (readonly [last: RegExp, reason: string])[] = [
  [/^(?:lm_head|embed_out|score|classifier|qa_outputs|seq_relationship)$/, "is a head"],
  [
    /^(?:embed_tokens.*|embed_in|wte|wpe|.*embeddings?|embed_positions|shared|relative_attention_bias)$/,
    "is an embedding",
  ],
  [/^(?:gate|router|shared_expert_gate|gating_network|wg)$/, "chooses experts"],
  [/^conv1d$/, "is a convolution"],
  [/^(?:in_proj_ba|in_proj_a|in_proj_b|x_proj|dt_proj)$/, "is a small projection of linear attention"],
];

/** The same for modules that have others within. */
const BY_PARENT: readonly (readonly [part: RegExp, reason: string])[] = [
  [/^embeddings?$/, "is an embedding"],
  [/^router$/, "chooses experts"],
  [/^(?:lm_head|cls|score|classifier|pooler)$/, "is a head"],
  [
    /^(?:visual|vision\w*|vit|image_\w+|patch_embed\w*|audio\w*|speech_\w+|embed_(?:vision|audio))$/,
    "is of a tower for images or sound",
  ],
  [
    /^(?:multi_modal_projector|mm_projector|\w*connector|aligner|resampler|visual_projection|text_projection)$/,
    "projects images or sound",
  ],
  [/^(?:mtp|mtp_\w+|nextn)$/, "is of a layer that predicts further tokens"],
];

/** Why a module of this name usually stays dense, in a few words; nothing if it does not. */
export function namedReason(module: string): string | undefined {
  const parts = module.split(".");
  const last = parts.at(-1)!;
  // The head of the first models, as their own code names it.
  if (module === "output") return "is a head";
  for (const [pattern, reason] of BY_MODULE) if (pattern.test(last)) return reason;
  for (const [pattern, reason] of BY_PARENT) if (parts.some((part) => pattern.test(part))) return reason;
  return undefined;
}
