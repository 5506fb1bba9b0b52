import { quote, SafetensorsError } from "../../../errors.ts";

/** What makes the input of some linear layers, and so has to be divided where that is scaled. */
export type FoldingSource =
  /** A norm: `weight` and, if it is there, `bias` are divided. With `addsOne` it multiplies by `1 + weight`. */
  | { readonly kind: "norm"; readonly module: string; readonly addsOne: boolean }
  /** A linear layer: the rows of its `weight` and, if it is there, its `bias` are divided. */
  | { readonly kind: "linear"; readonly module: string };

/** Linear layers that take one input, and where the scale of that goes. */
export interface Folding {
  readonly source: FoldingSource;
  /** Modules whose weights' columns are multiplied and that are quantised. Statistics are those of the first. */
  readonly quantised: readonly string[];
  /** Modules that take the same input and keep their precision, as routers do: their columns are multiplied as well. */
  readonly kept: readonly string[];
  /** Whether limits for the weights' magnitude are to be looked for: not for queries and keys. */
  readonly limits: readonly string[];
}

interface Family {
  /** Norms multiply by `1 + weight`. */
  readonly addsOne: boolean;
  /** The norm before the MLP. */
  readonly mlpNorm: string;
  /** Routers and gates of experts that are not quantised. */
  readonly routers: readonly string[];
  /** What the linear layers of an MLP or an expert are called, with what is before and after its activation. */
  readonly mlp: readonly [gate: string, up: string, down: string];
  /** Where MLPs are, a `*` for a number. */
  readonly mlps: readonly string[];
}

const LLAMA: Family = {
  addsOne: false,
  mlpNorm: "post_attention_layernorm",
  routers: [],
  mlp: ["gate_proj", "up_proj", "down_proj"],
  mlps: ["mlp"],
};
const QWEN_MOE: Family = {
  ...LLAMA,
  routers: ["mlp.gate", "mlp.shared_expert_gate"],
  mlps: ["mlp", "mlp.experts.*", "mlp.shared_expert"],
};
const GEMMA: Family = { ...LLAMA, addsOne: true };
const GEMMA2: Family = { ...GEMMA, mlpNorm: "pre_feedforward_layernorm" };

/** By `model_type` of config.json. */
const FAMILIES: ReadonlyMap<string, Family> = new Map([
  ["llama", LLAMA],
  ["mistral", LLAMA],
  ["qwen2", LLAMA],
  ["qwen3", LLAMA],
  [
    "mixtral",
    {
      ...LLAMA,
      routers: ["block_sparse_moe.gate"],
      mlp: ["w1", "w3", "w2"],
      mlps: ["block_sparse_moe.experts.*"],
    },
  ],
  ["qwen2_moe", QWEN_MOE],
  ["qwen3_moe", QWEN_MOE],
  ["gemma", GEMMA],
  ["gemma2", GEMMA2],
  ["gemma3_text", GEMMA2],
]);

/** Kinds of models that AWQ's scales can be folded into. */
export const AWQ_MODEL_TYPES: readonly string[] = [...FAMILIES.keys()];

/**
 * Where the scales of AWQ go in a model, layer by layer: into the norm before queries, keys and values; into the values
 * before `o_proj`, where each of its inputs is one of them (not with grouped queries); into the norm before the MLP; and into
 * `up_proj` before `down_proj`.
 *
 * @param modelType `model_type` of config.json
 * @param shapes of the model's tensors, by name
 * @throws `UNSUPPORTED` for other kinds of models; `TENSOR_NOT_FOUND` if a layer that has an `input_layernorm` lacks what such layers have
 */
export function awqFoldings(
  modelType: string,
  shapes: ReadonlyMap<string, readonly number[]>,
): readonly Folding[] {
  const family = FAMILIES.get(modelType);
  if (!family) {
    const text = `AWQ needs to know where scales go: it does for ${AWQ_MODEL_TYPES.join(", ")}, not for ${quote(modelType)}`;
    throw new SafetensorsError("UNSUPPORTED", text);
  }
  const layers = new Map<string, Set<string>>();
  for (const name of shapes.keys()) {
    const [, layer, module] = /^((?:.*\.)?layers\.\d+)\.(.+)\.weight$/.exec(name) ?? [];
    if (layer === undefined || module === undefined) continue;
    const modules = layers.get(layer) ?? new Set();
    layers.set(layer, modules.add(module));
  }
  // Encoders of images have layers as well, whose norms are called otherwise: they are left as they are.
  return [...layers]
    .filter(([, modules]) => modules.has("input_layernorm"))
    .flatMap(([layer, modules]) => foldingsOf(layer, modules, family, shapes));
}

function foldingsOf(
  layer: string,
  modules: ReadonlySet<string>,
  family: Family,
  shapes: ReadonlyMap<string, readonly number[]>,
): Folding[] {
  const existing = (name: string): string => {
    if (modules.has(name)) return `${layer}.${name}`;
    const tensor = `${layer}.${name}.weight`;
    const text = `${quote(tensor)} is not there: scales cannot be folded into this layer`;
    throw new SafetensorsError("TENSOR_NOT_FOUND", text, { tensor });
  };
  const norm = (module: string): FoldingSource => ({
    kind: "norm",
    module: existing(module),
    addsOne: family.addsOne,
  });
  const linear = (module: string): FoldingSource => ({ kind: "linear", module });
  const [q, k, v, o] = ["q_proj", "k_proj", "v_proj", "o_proj"].map((name) => existing(`self_attn.${name}`));
  const [gate, up, down] = family.mlp;
  const mlps = mlpsOf(modules, family);
  // Without any, the error names the tensor of the first kind.
  if (mlps.length === 0) existing(`${family.mlps[0]!.replace("*", "0")}.${gate}`);
  const inputs = mlps.flatMap((mlp) => [existing(`${mlp}.${gate}`), existing(`${mlp}.${up}`)]);
  const foldings: Folding[] = [
    { source: norm("input_layernorm"), quantised: [q!, k!, v!], kept: [], limits: [v!] },
    {
      source: norm(family.mlpNorm),
      quantised: inputs,
      kept: family.routers.filter((name) => modules.has(name)).map((name) => `${layer}.${name}`),
      limits: inputs,
    },
  ];
  const values = shapes.get(`${v}.weight`)?.[0];
  if (values === shapes.get(`${o}.weight`)?.[1])
    foldings.push({ source: linear(v!), quantised: [o!], kept: [], limits: [o!] });
  for (const mlp of mlps) {
    const last = existing(`${mlp}.${down}`);
    foldings.push({ source: linear(existing(`${mlp}.${up}`)), quantised: [last], kept: [], limits: [last] });
  }
  return foldings;
}

/** The MLPs of a layer by name, in the order of their tensors. */
function mlpsOf(modules: ReadonlySet<string>, { mlps, mlp: [gate] }: Family): string[] {
  const found: string[] = [];
  for (const module of modules) {
    if (!module.endsWith(`.${gate}`)) continue;
    const mlp = module.slice(0, -gate.length - 1);
    if (mlps.includes(mlp.replace(/\.\d+$/, ".*"))) found.push(mlp);
  }
  return found;
}
