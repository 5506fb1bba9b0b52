import type { ConfigReader } from "../config.ts";
import type { DetailedStyle, Style } from "../style.ts";

type Rules = Readonly<Record<string, Style>>;

/** Options of a plan that knows of heads. */
export interface HeadAwareOptions {
  /** The vocabulary is padded with zeros to a multiple of this. */
  readonly vocabularyMultiple?: number;
}

type Family = (config: ConfigReader, vocabulary: DetailedStyle) => Rules;

const COLUMNS: DetailedStyle = { along: "out", kind: "plain" };
const ROWS: DetailedStyle = { along: "in", kind: "plain" };

/**
 * The rules that vLLM and Megatron have for a model, or none: attention is cut between heads, fused matrices each
 * on its own.
 */
export function headAwareRules(config: ConfigReader, options: HeadAwareOptions): Rules | undefined {
  const { vocabularyMultiple: multiple } = options;
  const vocabulary: DetailedStyle = {
    along: "out",
    kind: "vocabulary",
    ...(multiple !== undefined && { multiple }),
  };
  return FAMILIES.get(config.modelType)?.(config, vocabulary);
}

const llama: Family = (config, vocabulary) => ({ ...ends(vocabulary), ...attention(config), ...mlp("mlp") });

const withExperts: Family = (config, vocabulary) => ({
  ...llama(config, vocabulary),
  ...experts(),
  ...mlp("mlp.shared_expert"),
});

const mixtral: Family = (config, vocabulary) => ({
  ...ends(vocabulary),
  ...attention(config),
  ...experts(),
  "layers.*.block_sparse_moe.experts.*.w1": COLUMNS,
  "layers.*.block_sparse_moe.experts.*.w3": COLUMNS,
  "layers.*.block_sparse_moe.experts.*.w2": ROWS,
});

const phi3: Family = (config, vocabulary) => ({
  ...ends(vocabulary),
  "layers.*.self_attn.qkv_proj": {
    along: "out",
    kind: "fused_heads",
    heads: config.required("num_attention_heads"),
    keyValueHeads: keyValueHeads(config),
    order: "blocks",
    ...headDim(config),
  },
  "layers.*.self_attn.o_proj": outputs(config),
  "layers.*.mlp.gate_up_proj": { along: "out", kind: "blocks", blocks: 2 },
  "layers.*.mlp.down_proj": ROWS,
});

const deepseek: Family = (config, vocabulary) => {
  const heads = config.required("num_attention_heads");
  // Keys and values come of a latent vector, which all heads share: only what makes heads of it is cut.
  const columns: DetailedStyle = { along: "out", kind: "heads", heads };
  return {
    ...ends(vocabulary),
    "layers.*.self_attn.q_proj": columns,
    "layers.*.self_attn.q_b_proj": columns,
    "layers.*.self_attn.kv_b_proj": columns,
    "layers.*.self_attn.o_proj": { along: "in", kind: "heads", heads },
    ...experts(),
    ...mlp("mlp.shared_experts"),
    ...mlp("mlp"),
  };
};

const gptOss: Family = (config, vocabulary) => {
  // Blocks of MXFP4 are not cut apart.
  const unit = config.quantMethod === "mxfp4" ? 32 : 1;
  // Gate and up columns take turns.
  const both: DetailedStyle = { along: "out", transposed: true, kind: "units", unit: 2 * unit };
  return {
    ...ends(vocabulary),
    ...attention(config),
    "layers.*.self_attn.sinks": {
      along: "out",
      kind: "heads",
      heads: config.required("num_attention_heads"),
    },
    "layers.*.mlp.experts.gate_up_proj": both,
    "layers.*.mlp.experts.gate_up_proj_bias": both,
    "layers.*.mlp.experts.down_proj": { along: "in", transposed: true, kind: "units", unit },
  };
};

const gpt2: Family = (config, vocabulary) => {
  const heads = config.required("n_head", "num_attention_heads");
  return {
    wte: vocabulary,
    lm_head: vocabulary,
    "h.*.attn.c_attn": {
      along: "out",
      transposed: true,
      kind: "fused_heads",
      heads,
      keyValueHeads: heads,
      order: "blocks",
    },
    "h.*.attn.c_proj": { along: "in", transposed: true, kind: "heads", heads },
    "h.*.mlp.c_fc": { along: "out", transposed: true, kind: "plain" },
    "h.*.mlp.c_proj": { along: "in", transposed: true, kind: "plain" },
  };
};

const bloom: Family = (config, vocabulary) => {
  const heads = config.required("n_head", "num_attention_heads");
  return fusedByGroups(heads, heads, vocabulary);
};

const falcon: Family = (config, vocabulary) => {
  const heads = config.required("num_attention_heads", "n_head");
  const ofGroups = (): number => config.optional("num_kv_heads", "n_head_kv") ?? heads;
  const ofOld = (config.flag("multi_query") ?? true) ? 1 : heads;
  const isNew = config.flag("new_decoder_architecture") ?? false;
  return fusedByGroups(heads, isNew ? ofGroups() : ofOld, vocabulary);
};

const opt: Family = (config, vocabulary) => {
  const heads = config.required("num_attention_heads");
  const columns: DetailedStyle = { along: "out", kind: "heads", heads };
  return {
    "decoder.embed_tokens": vocabulary,
    lm_head: vocabulary,
    "decoder.layers.*.self_attn.q_proj": columns,
    "decoder.layers.*.self_attn.k_proj": columns,
    "decoder.layers.*.self_attn.v_proj": columns,
    "decoder.layers.*.self_attn.out_proj": { along: "in", kind: "heads", heads },
    "decoder.layers.*.fc1": COLUMNS,
    "decoder.layers.*.fc2": ROWS,
  };
};

const bert: Family = (config, vocabulary) => {
  const heads = config.required("num_attention_heads");
  const columns: DetailedStyle = { along: "out", kind: "heads", heads };
  return {
    "embeddings.word_embeddings": vocabulary,
    "cls.predictions.decoder": vocabulary,
    "cls.predictions.bias": vocabulary,
    "encoder.layer.*.attention.self.query": columns,
    "encoder.layer.*.attention.self.key": columns,
    "encoder.layer.*.attention.self.value": columns,
    "encoder.layer.*.attention.output.dense": { along: "in", kind: "heads", heads },
    "encoder.layer.*.intermediate.dense": COLUMNS,
    "encoder.layer.*.output.dense": ROWS,
  };
};

const FAMILIES: ReadonlyMap<string, Family> = new Map<string, Family>([
  ["llama", llama],
  ["mistral", llama],
  ["qwen2", llama],
  ["qwen3", llama],
  ["gemma", llama],
  ["gemma2", llama],
  ["gemma3", llama],
  ["gemma3_text", llama],
  ["mixtral", mixtral],
  ["qwen2_moe", withExperts],
  ["qwen3_moe", withExperts],
  ["phi3", phi3],
  ["deepseek_v2", deepseek],
  ["deepseek_v3", deepseek],
  ["gpt_oss", gptOss],
  ["gpt2", gpt2],
  ["bloom", bloom],
  ["falcon", falcon],
  ["opt", opt],
  ["bert", bert],
]);

/** The model types that such rules are known for. */
export const HEAD_AWARE_TYPES: readonly string[] = [...FAMILIES.keys()];

function ends(vocabulary: DetailedStyle): Rules {
  return { embed_tokens: vocabulary, lm_head: vocabulary };
}

function attention(config: ConfigReader): Rules {
  const each = headDim(config);
  const kv: DetailedStyle = { along: "out", kind: "key_value_heads", heads: keyValueHeads(config), ...each };
  const heads = config.required("num_attention_heads");
  return {
    "layers.*.self_attn.q_proj": { along: "out", kind: "heads", heads, ...each },
    "layers.*.self_attn.k_proj": kv,
    "layers.*.self_attn.v_proj": kv,
    "layers.*.self_attn.o_proj": outputs(config),
  };
}

function outputs(config: ConfigReader): DetailedStyle {
  return { along: "in", kind: "heads", heads: config.required("num_attention_heads"), ...headDim(config) };
}

function mlp(module: string): Rules {
  return {
    [`layers.*.${module}.gate_proj`]: COLUMNS,
    [`layers.*.${module}.up_proj`]: COLUMNS,
    [`layers.*.${module}.down_proj`]: ROWS,
  };
}

/** Experts stacked, as models have them, and one by one, as checkpoints do. */
function experts(): Rules {
  return {
    "layers.*.mlp.experts.gate_up_proj": { along: "out", kind: "blocks", blocks: 2 },
    "layers.*.mlp.experts.down_proj": ROWS,
    ...mlp("mlp.experts.*"),
  };
}

function fusedByGroups(heads: number, keyValueHeads: number, vocabulary: DetailedStyle): Rules {
  return {
    word_embeddings: vocabulary,
    lm_head: vocabulary,
    "h.*.self_attention.query_key_value": {
      along: "out",
      kind: "fused_heads",
      heads,
      keyValueHeads,
      order: "groups",
    },
    "h.*.self_attention.dense": { along: "in", kind: "heads", heads },
    "h.*.mlp.dense_h_to_4h": COLUMNS,
    "h.*.mlp.dense_4h_to_h": ROWS,
  };
}

/**
 * Without grouped queries, which is null or, in the oldest of these types, no field at all, each query head has its
 * own.
 */
function keyValueHeads(config: ConfigReader): number {
  const mayBeAbsent = config.has("num_key_value_heads") || ["llama", "phi3"].includes(config.modelType);
  return mayBeAbsent
    ? config.required("num_key_value_heads", "num_attention_heads")
    : config.required("num_key_value_heads");
}

function headDim(config: ConfigReader): { headDim?: number } {
  const dim = config.optional("head_dim");
  return dim === undefined ? {} : { headDim: dim };
}
