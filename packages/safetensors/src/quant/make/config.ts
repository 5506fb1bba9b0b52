import type { FloatDtype } from "../../dtype/cast.ts";
import { torchName } from "../torch-floats.ts";
import { modelScaleDtype } from "./grouped-codes.ts";
import { type IntegerName, integerNameOf } from "./quantizer-of.ts";

/** What a configuration is written for. */
export interface QuantizedModel {
  /** Name of the scheme: `gptq-int4-g128`. */
  readonly scheme: string;
  readonly symmetric?: boolean | undefined;
  /** For GPTQ: groups were chosen in the order of activations, and `g_idx` is not in order. */
  readonly actOrder?: boolean | undefined;
  /** Modules whose weights are quantised, without `.weight`. */
  readonly quantized: readonly string[];
  /** Linear modules whose weights stay dense. */
  readonly dense: readonly string[];
  /** Of the dense weights. */
  readonly dtype: FloatDtype;
  /** What made the files, with its version: `safetensors.js:1.2.0`. */
  readonly producer: string;
}

/** What is written beside the weights, as JSON. */
export interface QuantizedConfig {
  /** The field `quantization_config` of config.json. */
  readonly quantizationConfig: Readonly<Record<string, unknown>>;
  /** Whole files of their own, by name. */
  readonly files: ReadonlyMap<string, Readonly<Record<string, unknown>>>;
}

/**
 * The configuration by which transformers and vLLM find the weights, in the words of the scheme.
 *
 * Sources: the configuration classes of transformers and compressed-tensors, and what GPTQModel and AutoAWQ write.
 */
export function quantizedConfig(model: QuantizedModel): QuantizedConfig {
  const integers = integerNameOf(model.scheme, model.symmetric);
  if (integers?.family === "gptq") {
    const config = gptqConfig(model, integers);
    return { quantizationConfig: config, files: new Map([["quantize_config.json", config]]) };
  }
  if (integers?.family === "awq") return onlyField(awqConfig(model, integers));
  if (model.scheme === "fp8-block") return onlyField(fp8BlockConfig(model));
  if (model.scheme === "nf4") return onlyField(nf4Config(model));
  return onlyField(compressedTensorsConfig(model, integers));
}

type Config = Readonly<Record<string, unknown>>;

const onlyField = (quantizationConfig: Config): QuantizedConfig => ({ quantizationConfig, files: new Map() });

/** The modules that stay dense, and the head: where it is tied to the embeddings it has no tensor, but it is a module. */
function denseModules({ dense, quantized }: QuantizedModel): string[] {
  const isHead = (module: string): boolean => /(?:^|\.)lm_head$/.test(module);
  const hasHead = quantized.some(isHead) || dense.some(isHead);
  return hasHead ? [...dense] : [...dense, "lm_head"];
}

function gptqConfig(model: QuantizedModel, { bits, group, symmetric }: IntegerName): Config {
  const dense = model.dense.filter((module) => !/(?:^|\.)lm_head$/.test(module));
  const rules = [...new Set(dense.flatMap(withFusedName))].map((name) => [`-:^${escaped(name)}$`, {}]);
  return {
    quant_method: "gptq",
    bits,
    group_size: group,
    desc_act: model.actOrder ?? false,
    sym: symmetric,
    true_sequential: true,
    damp_percent: 0.01,
    lm_head: model.quantized.some((module) => /(?:^|\.)lm_head$/.test(module)),
    checkpoint_format: "gptq",
    pack_dtype: "int32",
    ...(rules.length > 0 && { dynamic: Object.fromEntries(rules) }),
    meta: { quantizer: [model.producer] },
  };
}

/** What vLLM calls modules that it runs as one: its rules are asked for this name. */
const FUSED_NAMES: ReadonlyMap<string, string> = new Map([
  ["q_proj", "qkv_proj"],
  ["k_proj", "qkv_proj"],
  ["v_proj", "qkv_proj"],
  ["gate_proj", "gate_up_proj"],
  ["up_proj", "gate_up_proj"],
]);

function withFusedName(module: string): string[] {
  const dot = module.lastIndexOf(".") + 1;
  const fused = FUSED_NAMES.get(module.slice(dot));
  return fused === undefined ? [module] : [module, module.slice(0, dot) + fused];
}

const escaped = (name: string): string => name.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");

function awqConfig(model: QuantizedModel, { bits, group }: IntegerName): Config {
  return {
    quant_method: "awq",
    bits,
    group_size: group,
    zero_point: true,
    version: "gemm",
    modules_to_not_convert: denseModules(model),
  };
}

function fp8BlockConfig(model: QuantizedModel): Config {
  return {
    quant_method: "fp8",
    fmt: "e4m3",
    activation_scheme: "dynamic",
    weight_block_size: [128, 128],
    modules_to_not_convert: denseModules(model),
  };
}

/** Without `llm_int8_threshold`: it must be a float, and a JSON writer of JavaScript has none that are whole. */
function nf4Config(model: QuantizedModel): Config {
  return {
    quant_method: "bitsandbytes",
    _load_in_4bit: true,
    _load_in_8bit: false,
    bnb_4bit_compute_dtype: torchName(modelScaleDtype(model.dtype)),
    bnb_4bit_quant_storage: "uint8",
    bnb_4bit_quant_type: "nf4",
    bnb_4bit_use_double_quant: false,
    llm_int8_enable_fp32_cpu_offload: false,
    llm_int8_has_fp16_weight: false,
    llm_int8_skip_modules: denseModules(model),
    load_in_4bit: true,
    load_in_8bit: false,
  };
}

function compressedTensorsConfig(model: QuantizedModel, integers: IntegerName | undefined): Config {
  const { format, weights, activations = null } = integers ? packedIntegers(integers) : FLOATS[model.scheme]!;
  return {
    quant_method: "compressed-tensors",
    format,
    quantization_status: "compressed",
    config_groups: {
      group_0: {
        targets: ["Linear"],
        weights: { ...weights, dynamic: false },
        input_activations: activations,
        output_activations: null,
      },
    },
    ignore: denseModules(model),
    kv_cache_scheme: null,
    global_compression_ratio: null,
  };
}

/** How one scheme is stated in a group of compressed-tensors. */
interface CompressedScheme {
  readonly format: string;
  readonly weights: Config;
  /** What runs the weights quantises its inputs so. */
  readonly activations?: Config;
}

function packedIntegers({ bits, group, symmetric }: IntegerName): CompressedScheme {
  const strategy = group === -1 ? { strategy: "channel" } : { strategy: "group", group_size: group };
  return { format: "pack-quantized", weights: { num_bits: bits, type: "int", symmetric, ...strategy } };
}

const float = (bits: number, rest: Config): Config => ({
  num_bits: bits,
  type: "float",
  symmetric: true,
  ...rest,
});

/** Each token's inputs with a scale of their own, made as they come. */
const PER_TOKEN: Config = float(8, { strategy: "token", dynamic: true });

const FLOATS: Readonly<Record<string, CompressedScheme>> = {
  "fp8-dynamic": {
    format: "float-quantized",
    weights: float(8, { strategy: "channel" }),
    activations: PER_TOKEN,
  },
  "fp8-tensor": {
    format: "float-quantized",
    weights: float(8, { strategy: "tensor" }),
    activations: PER_TOKEN,
  },
  mxfp4: {
    format: "mxfp4-pack-quantized",
    weights: float(4, { strategy: "group", group_size: 32, scale_dtype: "torch.uint8" }),
  },
  nvfp4: {
    format: "nvfp4-pack-quantized",
    weights: float(4, { strategy: "tensor_group", group_size: 16, scale_dtype: "torch.float8_e4m3fn" }),
  },
};
