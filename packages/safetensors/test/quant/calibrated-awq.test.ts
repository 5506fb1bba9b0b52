import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { open } from "../../src/checkpoint/open.ts";
import { AWQ_MODEL_TYPES, awqFoldings } from "../../src/quant/make/calibrated/awq-foldings.ts";
import { awqLimits } from "../../src/quant/make/calibrated/awq-limits.ts";
import { awqCodes } from "../../src/quant/make/calibrated/awq-round.ts";
import { awqScales } from "../../src/quant/make/calibrated/awq-scales.ts";
import { foldIntoColumns, foldIntoNorm, foldIntoRows } from "../../src/quant/make/calibrated/fold-scale.ts";
import { fixture } from "../fixtures.ts";
import { raises } from "../support.ts";
import { inputsOf, outputError, weightOf } from "./calibrated-inputs.ts";

const COLUMNS = 128;
const weight = weightOf(32, COLUMNS, 1);
const other = weightOf(8, COLUMNS, 5);
const { xtx: hessian, absMean } = inputsOf(COLUMNS, 512, 2);
const heldOut = inputsOf(COLUMNS, 512, 3).xtx;
const FORMAT = { bits: 4, group: 64, symmetric: false };
const plain = new Float32Array(COLUMNS).fill(1);

describe("AWQ", () => {
  it("gives the scale, limits and codes of the published algorithm", async () => {
    const golden = await open(fixture("quant/calibrated.safetensors"));
    const data = async (of: string) => golden.get(of).data();
    const given = (await data("weight")) as Float32Array;
    const xtx = (await data("xtx")) as Float32Array;
    const mean = (await data("absmean")) as Float32Array;
    const format = { bits: 4, group: 32, symmetric: false };
    const { scale } = awqScales({ weights: [given], hessian: xtx, absMean: mean, ...format });
    assert.deepEqual(scale, await data("awq.scale"));
    const limits = awqLimits(given, scale, xtx, format);
    assert.deepEqual(limits, await data("awq.limits"));
    const found = awqCodes(given, scale, format, limits);
    assert.deepEqual(found.codes, await data("awq.codes"));
    assert.deepEqual(found.scales, await data("awq.scales"));
    assert.deepEqual(found.zeros, await data("awq.zeros"));
  });

  it("loses less than rounding, on inputs it has not seen", () => {
    const { scale, loss, ratio } = awqScales({ weights: [weight, other], hessian, absMean, ...FORMAT });
    assert.ok(ratio! > 0 && loss.after < loss.before);
    const rounded = outputError(awqCodes(weight, plain, FORMAT), weight, heldOut);
    const scaled = outputError(awqCodes(weight, scale, FORMAT), weight, heldOut, scale);
    assert.ok(Math.sqrt(scaled / rounded) <= 0.85, `${Math.sqrt(scaled / rounded)}`);
    const limits = awqLimits(weight, scale, hessian, FORMAT);
    const cut = outputError(awqCodes(weight, scale, FORMAT, limits), weight, heldOut, scale);
    assert.ok(cut <= scaled * 1.02);
  });

  it("measures the loss of all layers that share the input", () => {
    const { scale, loss } = awqScales({ weights: [weight, other], hessian, absMean, ...FORMAT });
    const lossOf = (by: Float32Array): number =>
      outputError(awqCodes(weight, by, FORMAT), weight, hessian, by) +
      outputError(awqCodes(other, by, FORMAT), other, hessian, by);
    assert.ok(Math.abs(loss.before / lossOf(plain) - 1) < 1e-9);
    assert.ok(Math.abs(loss.after / lossOf(scale) - 1) < 1e-9);
    const some = awqScales({ weights: [weight], hessian, absMean, ...FORMAT, lossRows: 8 });
    assert.ok(some.loss.before < loss.before / 2);
  });

  it("leaves weights as they are where no scale is better", () => {
    const { scale, ratio, loss } = awqScales({ weights: [weight], hessian, absMean, ...FORMAT, grid: 0 });
    assert.deepEqual(scale, plain);
    assert.equal(ratio, undefined);
    assert.equal(loss.after, loss.before);
  });

  it("refuses sizes that do not agree", () => {
    const input = { weights: [weight], hessian, absMean, ...FORMAT };
    assert.throws(
      () => awqScales({ ...input, absMean: absMean.subarray(1) }),
      raises("SIZE_MISMATCH", /16129/),
    );
    assert.throws(() => awqScales({ ...input, weights: [weight.subarray(1)] }), raises("SIZE_MISMATCH"));
    assert.throws(() => awqLimits(weight, plain, hessian.subarray(1), FORMAT), raises("SIZE_MISMATCH"));
  });
});

/** Shapes of one layer: with 8 inputs, 6 in the MLP. */
function layer(
  modules: Readonly<Record<string, readonly number[]>>,
  prefix = "model.layers.0",
): Map<string, number[]> {
  return new Map(Object.entries(modules).map(([name, shape]) => [`${prefix}.${name}.weight`, [...shape]]));
}
const ATTENTION = {
  input_layernorm: [8],
  "self_attn.q_proj": [8, 8],
  "self_attn.k_proj": [4, 8],
  "self_attn.v_proj": [4, 8],
  "self_attn.o_proj": [8, 8],
  post_attention_layernorm: [8],
};
const MLP = { "mlp.gate_proj": [6, 8], "mlp.up_proj": [6, 8], "mlp.down_proj": [8, 6] };

describe("foldings of AWQ", () => {
  const summary = (modelType: string, shapes: ReadonlyMap<string, readonly number[]>): string[] =>
    awqFoldings(modelType, shapes).map(({ source, quantised, kept }) => {
      const short = (names: readonly string[]) => names.map((name) => name.replace(/^.*layers\.\d+\./, ""));
      return `${short([source.module])} -> ${short(quantised)}${kept.length ? ` (${short(kept)})` : ""}`;
    });

  it("are norms, values and up_proj, in Llama and its kin", () => {
    const expected = [
      "input_layernorm -> self_attn.q_proj,self_attn.k_proj,self_attn.v_proj",
      "post_attention_layernorm -> mlp.gate_proj,mlp.up_proj",
      "mlp.up_proj -> mlp.down_proj",
    ];
    for (const type of ["llama", "mistral", "qwen2", "qwen3", "gemma"])
      assert.deepEqual(summary(type, layer({ ...ATTENTION, ...MLP })), expected);
    // Without grouped queries each input of o_proj is one of the values.
    const whole = layer({ ...ATTENTION, ...MLP, "self_attn.v_proj": [8, 8] });
    assert.deepEqual(summary("llama", whole), [
      ...expected.slice(0, 2),
      "self_attn.v_proj -> self_attn.o_proj",
      expected[2],
    ]);
  });

  it("know the norms of Gemma", () => {
    const gemma2 = layer({ ...ATTENTION, ...MLP, pre_feedforward_layernorm: [8] });
    assert.equal(summary("gemma2", gemma2)[1], "pre_feedforward_layernorm -> mlp.gate_proj,mlp.up_proj");
    const adds = awqFoldings("gemma2", gemma2).map(({ source }) => source.kind === "norm" && source.addsOne);
    assert.deepEqual(adds, [true, true, false]);
  });

  it("scale all experts and their router in Mixtral and Qwen", () => {
    const experts = [0, 1].flatMap((expert) =>
      ["w1", "w2", "w3"].map((name) => [`block_sparse_moe.experts.${expert}.${name}`, [6, 8]] as const),
    );
    const mixtral = layer({ ...ATTENTION, "block_sparse_moe.gate": [2, 8], ...Object.fromEntries(experts) });
    const at = "block_sparse_moe.experts";
    assert.deepEqual(summary("mixtral", mixtral).slice(1), [
      `post_attention_layernorm -> ${at}.0.w1,${at}.0.w3,${at}.1.w1,${at}.1.w3 (block_sparse_moe.gate)`,
      `${at}.0.w3 -> ${at}.0.w2`,
      `${at}.1.w3 -> ${at}.1.w2`,
    ]);
    const shared = Object.entries(MLP).flatMap(([name, shape]) => [
      [name.replace("mlp", "mlp.shared_expert"), shape] as const,
      [name.replace("mlp", "mlp.experts.11"), shape] as const,
    ]);
    const gates = { "mlp.gate": [2, 8], "mlp.shared_expert_gate": [1, 8] };
    assert.equal(
      summary("qwen2_moe", layer({ ...ATTENTION, ...gates, ...Object.fromEntries(shared) }))[1],
      "post_attention_layernorm -> mlp.shared_expert.gate_proj,mlp.shared_expert.up_proj," +
        "mlp.experts.11.gate_proj,mlp.experts.11.up_proj (mlp.gate,mlp.shared_expert_gate)",
    );
  });

  it("leave other layers alone, and refuse what they do not know", () => {
    const vision = layer({ "self_attn.q_proj": [8, 8], layer_norm1: [8] }, "vision.encoder.layers.0");
    assert.deepEqual(awqFoldings("llama", vision), []);
    assert.throws(() => awqFoldings("gpt2", new Map()), raises("UNSUPPORTED", /llama, .*not for "gpt2"/));
    for (const missing of [
      "self_attn.k_proj",
      "post_attention_layernorm",
      "mlp.gate_proj",
      "mlp.down_proj",
    ]) {
      const shapes = layer({ ...ATTENTION, ...MLP });
      shapes.delete(`model.layers.0.${missing}.weight`);
      const tensor = `model.layers.0.${missing}.weight`;
      assert.throws(
        () => awqFoldings("llama", shapes),
        raises("TENSOR_NOT_FOUND", /is not there/, { tensor }),
      );
    }
    assert.ok(AWQ_MODEL_TYPES.includes("llama"));
  });

  it("leave what a layer does the same", () => {
    const scale = Float32Array.from([2, 0.5, 4]);
    const norm = Float32Array.from([1, 2, 3]);
    const linear = Float32Array.from([1, 2, 3, 4, 5, 6]);
    const columns = foldIntoColumns(linear, scale);
    const product = (by: Float32Array, of: Float32Array, adds: number) =>
      of.map((w, i) => w * (by[i % 3]! + adds));
    assert.deepEqual(product(foldIntoNorm(norm, scale), columns, 0), product(norm, linear, 0));
    assert.deepEqual(product(foldIntoNorm(norm, scale, true), columns, 1), product(norm, linear, 1));
    assert.deepEqual([...foldIntoRows(linear, scale)], [0.5, 1, 6, 8, 1.25, 1.5]);
    assert.deepEqual([...foldIntoRows(norm, scale)], [0.5, 4, 0.75]);
  });
});
