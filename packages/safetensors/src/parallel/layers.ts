/** The layers of a model: of its only stack, or of the encoder and the decoder. */
export type Stack = "layers" | "encoder" | "decoder";

/** Where a layer is. */
export interface LayerPlace {
  readonly stack: Stack;
  readonly index: number;
}

/** Lists of layers in the models of transformers and others. */
const LISTS: ReadonlySet<string> = new Set(["layers", "h", "blocks", "block", "layer", "transformer_blocks"]);

/**
 * The layer that a tensor belongs to, by the first part of its name that says so: `model.layers.3.mlp.experts.7…`
 * is of layer 3. Layers of vision and audio towers are not told apart; see `purposeOf`.
 */
export function layerOf(name: string): LayerPlace | undefined {
  const parts = name.split(".");
  const at = parts.findIndex((part, i) => LISTS.has(part) && /^\d+$/.test(parts[i + 1] ?? ""));
  if (at < 0) return undefined;
  const before = parts[at - 1];
  const stack = before === "encoder" || before === "decoder" ? before : "layers";
  return { stack, index: Number(parts[at + 1]) };
}

/** What a tensor is for, as far as it says where it has to be. */
export type Purpose =
  /** It sees or hears, and makes of it what the first layer takes. */
  | "tower"
  /** It predicts further tokens ahead (MTP), for training or for drafts. */
  | "ahead"
  | "layer"
  /** The embeddings of tokens, which may be the head as well. */
  | "tokens"
  /** A table of positions, which is small. */
  | "positions"
  /** Something else before the first layer. */
  | "first"
  /** The norm after the last layer, and the heads. */
  | "last"
  | "unknown";

const NAMES: readonly (readonly [purpose: Purpose, part: RegExp])[] = [
  ["last", /^(?:lm_head|embed_out|output|score|classifier|qa_outputs|cls|pooler|head)$/],
  [
    "positions",
    /^(?:rotary|rotary_emb|rotary_pos_emb|rope|inv_freq|wpe|embed_positions|position_embeddings|token_type_embeddings)$/,
  ],
  ["tokens", /^(?:embed_tokens|embed_in|wte|word_embeddings|tok_embeddings|shared)$/],
  ["first", /^(?:per_layer_.*|embed.*|word_embeddings_.*|.*_embeddings?|project_in)$/],
  ["last", /^(?:norm|final_norm|norm_f|ln_f|final_layer_?norm|layer_norm|project_out)$/],
];

const AHEAD = /^mtp(?:_|$)/;

const TOWERS: readonly RegExp[] = [
  /^(?:vision|visual|audio|image|speech|vit|mm|multi_modal|multimodal|embed_vision|embed_audio)(?:_|$)/,
  /_(?:tower|projector)$|^(?:aligner|connector)$/,
];

/** What a tensor is for, by its name. A layer of a tower counts as tower. */
export function purposeOf(name: string): Purpose {
  const parts = name.split(".");
  const has = (kind: RegExp): boolean => parts.some((part) => kind.test(part));
  if (TOWERS.some(has)) return "tower";
  if (has(AHEAD)) return "ahead";
  if (layerOf(name)) return "layer";
  return NAMES.find(([, part]) => has(part))?.[0] ?? "unknown";
}
