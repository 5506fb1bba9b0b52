import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deepseekRules, isRoutedExpert } from "../../src/consolidate/deepseek.ts";
import { elementCount } from "../../src/dtype/dtype.ts";
import { type HandMade, handMade, noise, raises } from "../support.ts";
import { type Files, reportOf } from "./stores.ts";

const tensor = (shape: readonly number[], seed: number): HandMade => {
  return { dtype: "U8", shape, data: noise(elementCount(shape), seed) };
};

const ranks = (...files: readonly Record<string, HandMade>[]): Files =>
  Object.fromEntries(
    files.map((tensors, i) => [`model${i}-mp${files.length}.safetensors`, handMade(tensors)]),
  );

describe("DeepSeek's rules", () => {
  it("go by the part of the name before the last, and a scale with its weight", () => {
    const rule = deepseekRules(["embed.weight", "layers.0.attn.wq_b.weight"]);
    const cases: [string, unknown][] = [
      ["embed.weight", 0],
      ["head.weight", 0],
      ["norm.weight", "replicated"],
      ["layers.0.attn.wo.scale", 1],
      ["layers.0.attn.wq_b.weight", 0],
      ["layers.0.attn.indexer.wq_b.weight", "replicated"],
      ["layers.3.ffn.shared_experts.w2.weight", 1],
      ["layers.3.ffn.experts.17.w2.weight", undefined],
      ["layers.3.ffn.gate.bias", "replicated"],
      ["layers.3.something.weight", undefined],
    ];
    for (const [name, expected] of cases) assert.equal(rule(name), expected, name);
    assert.ok(isRoutedExpert("layers.3.ffn.experts.17.w2.weight"));
    assert.ok(!isRoutedExpert("layers.3.ffn.shared_experts.w2.weight"));
  });

  it("are others for V4", () => {
    const rule = deepseekRules(["layers.0.attn.attn_sink"]);
    const cases: [string, unknown][] = [
      ["layers.0.attn.attn_sink", 0],
      ["layers.0.attn.indexer.wq_b.weight", 0],
      ["layers.0.attn.wo_b.scale", 1],
      ["layers.3.ffn.shared_experts.w2.weight", undefined],
      ["layers.3.ffn.experts.17.w2.weight", undefined],
      ["layers.3.engram.embed.weight", undefined],
      ["norm.weight", undefined],
    ];
    for (const [name, expected] of cases) assert.equal(rule(name), expected, name);
  });

  it("are tested: what should be cut cannot be the same in two ranks", async () => {
    const files = ranks({ "embed.weight": tensor([2, 2], 1) }, { "embed.weight": tensor([2, 2], 1) });
    const message =
      /"embed.weight": "model0-mp2.safetensors" and "model1-mp2.safetensors" have the same bytes/;
    await assert.rejects(reportOf(files), raises("AMBIGUOUS", message));
    for (const options of [{ trust: true }, { cuts: { "embed.weight": 0 } }]) {
      assert.equal((await reportOf(files, options)).tensors.cut, 1);
    }
    const rule = { cuts: { "embed.weight": "replicated" } } as const;
    assert.equal((await reportOf(files, rule)).tensors.replicated, 1);
  });

  it("are not taken for wrong by parts of different sizes that begin alike", async () => {
    // Each piece that is compared has 1 MiB.
    for (const [one, other] of [
      [3, 1],
      [1, 3],
    ] as const) {
      const files = ranks(
        { "embed.weight": tensor([one, 1 << 20], 1) },
        { "embed.weight": tensor([other, 1 << 20], 1) },
      );
      assert.equal((await reportOf(files)).tensors.cut, 1);
    }
  });

  it("leave nothing but experts to one rank", async () => {
    const name = "layers.0.ffn.experts.0.w1.weight";
    const files = ranks({ [name]: tensor([2], 1) }, { "norm.weight": tensor([2], 1) });
    await assert.rejects(
      reportOf(files),
      raises("INDEX_MISMATCH", /"norm.weight": it is in 1 of 2 ranks only/),
    );
    assert.equal((await reportOf(ranks({ [name]: tensor([2], 1) }, {}))).tensors.whole, 1);
    const different = ranks({ "norm.weight": tensor([2], 1) }, { "norm.weight": tensor([2], 2) });
    await assert.rejects(reportOf(different), raises("INDEX_MISMATCH", /should be whole in every rank/));
  });
});
