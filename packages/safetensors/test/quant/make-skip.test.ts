import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fieldsOf } from "../../src/quant/config.ts";
import { quantizerOf } from "../../src/quant/make/quantizer-of.ts";
import {
  chooseWeights,
  misfitReason,
  sharesScale,
  type TensorFacts,
  usualReason,
} from "../../src/quant/make/skip.ts";

const weight = (name: string, ...shape: number[]): TensorFacts => ({
  name,
  dtype: "BF16",
  shape: shape.length > 0 ? shape : [256, 256],
});

function choose(tensors: readonly TensorFacts[], scheme = "w4a16", config: unknown = {}) {
  const [misfit, usual] = [misfitReason(quantizerOf(scheme)), usualReason(fieldsOf(config))];
  const { quantized, skipped, dense } = chooseWeights(tensors, (tensor) => misfit(tensor) ?? usual(tensor));
  return { quantized: quantized.map(({ name }) => name), skipped, dense };
}

describe("weights that are quantised by default", () => {
  it("all matrices of linear layers, and nothing that others read as it is", () => {
    const linear = [
      "model.layers.0.self_attn.q_proj.weight",
      "model.layers.0.self_attn.k_proj.weight",
      "model.layers.0.self_attn.v_proj.weight",
      "model.layers.0.self_attn.o_proj.weight",
      "model.layers.0.mlp.gate_proj.weight",
      "model.layers.0.mlp.up_proj.weight",
      "model.layers.0.mlp.down_proj.weight",
      "model.layers.1.mlp.experts.0.gate_proj.weight",
      "model.layers.1.mlp.shared_experts.down_proj.weight",
      "model.layers.1.block_sparse_moe.experts.3.w2.weight",
      "bert.encoder.layer.0.attention.output.dense.weight",
    ];
    const others = new Map([
      ["lm_head.weight", "is a head"],
      ["output.weight", "is a head"],
      ["score.weight", "is a head"],
      ["model.embed_tokens.weight", "is an embedding"],
      ["transformer.wte.weight", "is an embedding"],
      ["shared.weight", "is an embedding"],
      ["bert.embeddings.word_embeddings.weight", "is an embedding"],
      ["model.layers.1.mlp.gate.weight", "chooses experts"],
      ["model.layers.1.mlp.shared_expert_gate.weight", "chooses experts"],
      ["model.layers.1.block_sparse_moe.gate.weight", "chooses experts"],
      ["model.layers.1.mlp.router.layer.weight", "chooses experts"],
      ["model.visual.blocks.0.attn.qkv.weight", "is of a tower for images or sound"],
      ["vision_tower.layers.0.self_attn.q_proj.weight", "is of a tower for images or sound"],
      ["multi_modal_projector.linear_1.weight", "projects images or sound"],
      ["mtp.layers.0.mlp.up_proj.weight", "is of a layer that predicts further tokens"],
      ["model.layers.2.linear_attn.in_proj_ba.weight", "is a small projection of linear attention"],
    ]);
    const { quantized, skipped, dense } = choose([...linear, ...others.keys()].map((name) => weight(name)));
    assert.deepEqual(quantized, linear);
    assert.deepEqual(skipped, others);
    assert.deepEqual(
      dense,
      Array.from(others.keys(), (name) => name.replace(/\.weight$/, "")),
    );
  });

  it("nothing that is no matrix of floats, or does not fit; modules of those that are none are not listed", () => {
    const { quantized, skipped, dense } = choose([
      weight("model.norm.weight", 256),
      weight("model.layers.0.linear_attn.conv1d.weight", 256, 1, 4),
      weight("model.layers.0.mlp.experts.gate_up_proj", 8, 256, 256),
      weight("model.layers.0.self_attn.sinks", 64, 256),
      { ...weight("model.layers.0.self_attn.o_proj.weight"), dtype: "F8_E4M3" },
      weight("model.layers.0.mlp.down_proj.weight", 256, 100),
    ]);
    assert.deepEqual(quantized, []);
    assert.deepEqual(Array.from(skipped.values()), [
      "has 1 dimensions",
      "has 3 dimensions",
      "has 3 dimensions",
      "is not the weight of a module",
      "is of F8_E4M3",
      "100 inputs are no multiple of the group of 128",
    ]);
    assert.deepEqual(dense, ["model.layers.0.self_attn.o_proj", "model.layers.0.mlp.down_proj"]);
  });

  it("all or none of those that are run as one", () => {
    const { quantized, skipped } = choose(
      [
        weight("model.layers.0.self_attn.q_proj.weight", 256, 256),
        weight("model.layers.0.self_attn.k_proj.weight", 64, 256),
        weight("model.layers.0.self_attn.o_proj.weight", 256, 256),
        weight("model.layers.1.self_attn.q_proj.weight", 256, 256),
        weight("model.layers.1.mlp.experts.0.up_proj.weight", 128, 256),
        weight("model.layers.1.mlp.experts.1.down_proj.weight", 256, 96),
        weight("model.layers.1.mlp.experts.1.up_proj.bias", 128),
      ],
      "fp8-block",
    );
    assert.deepEqual(quantized, [
      "model.layers.0.self_attn.o_proj.weight",
      "model.layers.1.self_attn.q_proj.weight",
    ]);
    assert.equal(
      skipped.get("model.layers.0.self_attn.q_proj.weight"),
      'is run as one with "model.layers.0.self_attn.k_proj.weight", which stays dense',
    );
    assert.match(skipped.get("model.layers.1.mlp.experts.0.up_proj.weight")!, /experts\.1\.down_proj/);
  });

  it("knows layers that predict further tokens by their number", () => {
    const config = { num_hidden_layers: 2, num_nextn_predict_layers: 1 };
    const names = ["model.layers.1.mlp.down_proj.weight", "model.layers.2.mlp.down_proj.weight"];
    const tensors = names.map((name) => weight(name));
    assert.deepEqual(choose(tensors, "w4a16", config).quantized, names.slice(0, 1));
    assert.deepEqual(choose(tensors, "w4a16", { text_config: config }).quantized, names.slice(0, 1));
    assert.deepEqual(choose(tensors, "w4a16", { num_hidden_layers: 2 }).quantized, names);
  });

  it("leaves GPT-2's layers, which are stored the other way round", () => {
    const tensors = [weight("transformer.h.0.attn.c_attn.weight"), weight("h.0.mlp.c_fc.weight")];
    assert.deepEqual(choose(tensors, "w4a16", { model_type: "gpt2" }).quantized, []);
    assert.equal(choose(tensors, "w4a16", { model_type: "gpt_bigcode" }).quantized.length, 2);
  });

  it("says which weights share NVFP4's global scale", () => {
    const layer = "model.layers.0.self_attn";
    assert.equal(sharesScale(`${layer}.q_proj.weight`), sharesScale(`${layer}.v_proj.weight`));
    assert.equal(sharesScale(`${layer}.o_proj.weight`), undefined);
    const experts = "model.layers.0.mlp.experts";
    assert.equal(sharesScale(`${experts}.0.gate_proj.weight`), sharesScale(`${experts}.0.up_proj.weight`));
    assert.notEqual(sharesScale(`${experts}.0.gate_proj.weight`), sharesScale(`${experts}.1.up_proj.weight`));
  });

  it("takes no longer for names that are long", () => {
    const long = "x".repeat(200_000);
    const dots = "x.experts.".repeat(20_000);
    const names = [
      long,
      `${long}.weight`,
      dots,
      `${dots}weight`,
      `${long}embedding.${long}`,
      `${dots}${long}`,
    ];
    const { quantized } = choose(names.map((name) => weight(name)));
    assert.deepEqual(quantized, [`${long}.weight`, `${dots}weight`]);
  });
});
