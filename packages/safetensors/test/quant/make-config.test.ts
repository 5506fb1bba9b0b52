import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type QuantizedModel, quantizedConfig } from "../../src/quant/make/config.ts";

const MODEL = {
  quantized: ["model.layers.0.mlp.up_proj"],
  dense: ["lm_head", "model.layers.0.self_attn.q_proj"],
  dtype: "BF16",
  producer: "safetensors.js:1.2.3",
} as const;

const fieldOf = (scheme: string, changes: Partial<QuantizedModel> = {}): Readonly<Record<string, unknown>> =>
  quantizedConfig({ ...MODEL, scheme, ...changes }).quantizationConfig;

describe("configurations of quantised models", () => {
  it("GPTQ: in two places, with rules for what stays dense, also by the names of vLLM", () => {
    const { quantizationConfig, files } = quantizedConfig({
      ...MODEL,
      scheme: "gptq-int4-g128",
      actOrder: true,
    });
    assert.deepEqual(quantizationConfig, {
      quant_method: "gptq",
      bits: 4,
      group_size: 128,
      desc_act: true,
      sym: true,
      true_sequential: true,
      damp_percent: 0.01,
      lm_head: false,
      checkpoint_format: "gptq",
      pack_dtype: "int32",
      dynamic: {
        "-:^model\\.layers\\.0\\.self_attn\\.q_proj$": {},
        "-:^model\\.layers\\.0\\.self_attn\\.qkv_proj$": {},
      },
      meta: { quantizer: ["safetensors.js:1.2.3"] },
    });
    assert.deepEqual(files, new Map([["quantize_config.json", quantizationConfig]]));
  });

  it("GPTQ: rows as groups, the head quantised, nothing else dense", () => {
    const config = fieldOf("gptq-int8-asym", { quantized: ["lm_head"], dense: [] });
    assert.equal(config.group_size, -1);
    assert.equal(config.sym, false);
    assert.equal(config.lm_head, true);
    assert.equal("dynamic" in config, false);
  });

  it("AWQ", () => {
    assert.deepEqual(fieldOf("awq-int4-g64"), {
      quant_method: "awq",
      bits: 4,
      group_size: 64,
      zero_point: true,
      version: "gemm",
      modules_to_not_convert: MODEL.dense,
    });
  });

  it("fine-grained FP8", () => {
    assert.deepEqual(fieldOf("fp8-block"), {
      quant_method: "fp8",
      fmt: "e4m3",
      activation_scheme: "dynamic",
      weight_block_size: [128, 128],
      modules_to_not_convert: MODEL.dense,
    });
  });

  it("bitsandbytes", () => {
    const config = fieldOf("nf4");
    assert.equal(config.bnb_4bit_compute_dtype, "bfloat16");
    assert.deepEqual(config.llm_int8_skip_modules, MODEL.dense);
    // As a whole number, which is all that JavaScript writes, transformers refuses it.
    assert.equal("llm_int8_threshold" in config, false);
  });

  const weights = { type: "float", symmetric: true, dynamic: false };
  const perToken = { num_bits: 8, type: "float", symmetric: true, strategy: "token", dynamic: true };
  for (const [scheme, format, group] of [
    [
      "fp8-dynamic",
      "float-quantized",
      { weights: { ...weights, num_bits: 8, strategy: "channel" }, perToken },
    ],
    ["fp8-tensor", "float-quantized", { weights: { ...weights, num_bits: 8, strategy: "tensor" }, perToken }],
    [
      "mxfp4",
      "mxfp4-pack-quantized",
      { weights: { ...weights, num_bits: 4, strategy: "group", group_size: 32, scale_dtype: "torch.uint8" } },
    ],
    [
      "nvfp4",
      "nvfp4-pack-quantized",
      {
        weights: {
          ...weights,
          num_bits: 4,
          strategy: "tensor_group",
          group_size: 16,
          scale_dtype: "torch.float8_e4m3fn",
        },
      },
    ],
    [
      "w4a16",
      "pack-quantized",
      { weights: { ...weights, type: "int", num_bits: 4, strategy: "group", group_size: 128 } },
    ],
    [
      "ct-int8-asym",
      "pack-quantized",
      { weights: { ...weights, type: "int", symmetric: false, num_bits: 8, strategy: "channel" } },
    ],
  ] as const) {
    it(`compressed-tensors: ${scheme}`, () => {
      assert.deepEqual(fieldOf(scheme), {
        quant_method: "compressed-tensors",
        format,
        quantization_status: "compressed",
        config_groups: {
          group_0: {
            targets: ["Linear"],
            weights: group.weights,
            input_activations: "perToken" in group ? group.perToken : null,
            output_activations: null,
          },
        },
        ignore: MODEL.dense,
        kv_cache_scheme: null,
        global_compression_ratio: null,
      });
    });
  }

  it("lists the head where it has no tensor of its own: it is a module all the same", () => {
    const tied = { dense: ["model.layers.0.mlp.gate"] };
    assert.deepEqual(fieldOf("w4a16", tied).ignore, ["model.layers.0.mlp.gate", "lm_head"]);
    assert.deepEqual(fieldOf("w4a16", { ...tied, quantized: ["lm_head"] }).ignore, tied.dense);
  });
});
