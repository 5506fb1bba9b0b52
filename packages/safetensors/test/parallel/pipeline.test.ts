import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { layerOf } from "../../src/parallel/layers.ts";
import { layerCounts, type PipelineOptions, stageLayers, stagesOf } from "../../src/parallel/pipeline.ts";
import { raises } from "../support.ts";

const counts = (layers: number, stages: number, partition?: number[]): number[] =>
  stageLayers(layers, stages, partition).map(({ start, stop }) => stop - start);

describe("the layers of stages", () => {
  it("are what vLLM gives them", () => {
    // Its documented examples: what is left over goes to the stages before the last.
    assert.deepEqual(counts(30, 4), [7, 8, 8, 7]);
    assert.deepEqual(counts(62, 4), [15, 16, 16, 15]);
    assert.deepEqual(counts(31, 4), [8, 8, 8, 7]);
    assert.deepEqual(counts(61, 8), [7, 7, 8, 8, 8, 8, 8, 7]);
    assert.deepEqual(counts(32, 4), [8, 8, 8, 8]);
    assert.deepEqual(counts(2, 4), [0, 1, 1, 0]);
    assert.deepEqual(counts(5, 1), [5]);
    assert.deepEqual(stageLayers(5, 2), [
      { start: 0, stop: 3 },
      { start: 3, stop: 5 },
    ]);
  });

  it("may be listed", () => {
    assert.deepEqual(counts(5, 3, [1, 4, 0]), [1, 4, 0]);
    for (const wrong of [
      [1, 4],
      [1, 1, 1],
      [6, -1, 0],
      [2.5, 2.5, 0],
    ])
      assert.throws(() => counts(5, 3, wrong), raises("INVALID_SLICE", /do not make 5 layers of 3 stages/));
    assert.throws(() => counts(5, 0), raises("INVALID_SLICE", /0 is no number of stages/));
    assert.throws(
      () => stagesOf("x", { stages: 1e9, layers: {} }),
      raises("INVALID_SLICE", /from 1 to 4096/),
    );
    assert.throws(() => counts(5, 1e9), raises("INVALID_SLICE", /from 1 to 4096/));
  });
});

describe("the layer of a tensor", () => {
  it("is the first number of a list of layers", () => {
    assert.deepEqual(layerOf("model.layers.11.mlp.experts.4.up.weight"), { stack: "layers", index: 11 });
    assert.deepEqual(layerOf("h.3.attn.c_attn.weight"), { stack: "layers", index: 3 });
    assert.deepEqual(layerOf("bert.encoder.layer.2.output.dense.weight"), { stack: "encoder", index: 2 });
    assert.deepEqual(layerOf("decoder.block.2.layer.1.wi.weight"), { stack: "decoder", index: 2 });
    assert.equal(layerOf("model.embed_tokens.weight"), undefined);
    assert.equal(layerOf("model.layers.x.weight"), undefined);
    assert.equal(layerOf("model.layers1.2.weight"), undefined);
  });
});

describe("the stages of a tensor", () => {
  const options: PipelineOptions = { stages: 3, layers: { layers: 4 } };
  const of = (name: string, more: Partial<PipelineOptions> = {}): readonly number[] =>
    stagesOf(name, { ...options, ...more }).stages;

  it("are those of its layer", () => {
    assert.deepEqual(
      [0, 1, 2, 3].map((layer) => of(`model.layers.${layer}.self_attn.q_proj.weight`)),
      [[0], [1], [1], [2]],
    );
    assert.deepEqual(of("model.layers.0.w", { partition: { layers: [0, 0, 4] } }), [2]);
  });

  it("are the first for what comes before the layers, the last for what comes after", () => {
    for (const name of [
      "model.embed_tokens.weight",
      "wte.weight",
      "transformer.word_embeddings_layernorm.bias",
    ])
      assert.deepEqual(of(name), [0], name);
    for (const name of [
      "model.norm.weight",
      "lm_head.weight",
      "transformer.ln_f.bias",
      "score.weight",
      "bert.pooler.dense.bias",
    ])
      assert.deepEqual(of(name), [2], name);
    for (const name of [
      "model.vision_tower.encoder.layers.3.w",
      "visual.blocks.9.w",
      "multi_modal_projector.linear_1.weight",
      "model.embed_tokens_per_layer.weight",
      "audio_tower.conv1.weight",
    ])
      assert.deepEqual(of(name), [0], name);
    for (const name of [
      "wpe.weight",
      "model.rotary_emb.inv_freq",
      "bert.embeddings.position_embeddings.weight",
    ])
      assert.deepEqual(of(name), [0, 1, 2], name);
  });

  it("are the first and the last for embeddings that are the head", () => {
    assert.deepEqual(of("model.embed_tokens.weight", { tied: true }), [0, 2]);
    assert.deepEqual(of("transformer.wte.weight", { tied: true, stages: 1 }), [0]);
    assert.deepEqual(of("model.norm.weight", { tied: true }), [2]);
  });

  it("are the last, or none, for layers after the model's own", () => {
    for (const name of ["model.layers.4.eh_proj.weight", "mtp.layers.0.fc.weight"]) {
      assert.deepEqual(of(name), [2], name);
      assert.deepEqual(of(name, { extraLayers: "skip" }), [], name);
    }
  });

  it("are all for what is not known", () => {
    assert.deepEqual(stagesOf("something.weight", options), { stages: [0, 1, 2], isKnown: false });
  });

  it("are counted in each stack of an encoder and a decoder", () => {
    const layers = layerCounts({ model_type: "t5", num_layers: 3, num_decoder_layers: 6 });
    const both: PipelineOptions = { stages: 3, layers };
    assert.deepEqual(stagesOf("encoder.block.2.layer.0.w", both).stages, [2]);
    assert.deepEqual(stagesOf("decoder.block.2.layer.0.w", both).stages, [1]);
    const none: PipelineOptions = { stages: 3, layers: { layers: 4 } };
    assert.throws(
      () => stagesOf("encoder.block.2.w", none),
      raises("INVALID_SLICE", /"encoder", is not given/),
    );
  });

  it("need the number of layers, which is in the configuration", () => {
    assert.deepEqual(layerCounts({ model_type: "gpt2", n_layer: 12 }), {
      layers: 12,
      encoder: 12,
      decoder: 12,
    });
    assert.throws(
      () => layerCounts({ model_type: "gpt2" }),
      raises("INVALID_SLICE", /"num_hidden_layers" or "n_layer"/),
    );
  });
});
