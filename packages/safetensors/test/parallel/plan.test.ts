import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ParallelPlan, parsePlan } from "../../src/parallel/plan.ts";
import { planFor } from "../../src/parallel/plan-for.ts";
import { type Style, shardTensor } from "../../src/parallel/style.ts";
import { WHOLE } from "../../src/view/cut.ts";
import { raises } from "../support.ts";

const half = { rank: 1, world: 2 };

/** Which axis a style cuts of a tensor, if any. */
function axisOf(
  name: string,
  shape: readonly number[],
  style: Style,
  embeddings?: string[],
): number | undefined {
  return shardTensor(name, shape, style, { ...half, ...(embeddings && { embeddings }) })[0]?.axis;
}

describe("styles", () => {
  it("know linear layers, their biases, embeddings and stacked experts", () => {
    assert.deepEqual(
      (
        [
          ["a.q_proj.weight", [4, 6], "colwise"],
          ["a.q_proj.bias", [4], "colwise"],
          ["a.experts.up", [2, 4, 6], "colwise_rep"],
          ["a.o_proj.weight", [4, 6], "rowwise"],
          ["a.o_proj.bias", [4], "rowwise"],
          ["a.experts.down", [2, 4, 6], "local_rowwise"],
          ["a.gate_up.bias", [4], "packed_colwise"],
          ["a.down.bias", [4], "packed_rowwise"],
          ["a.down.weight", [4, 6], "packed_rowwise"],
          ["embed_tokens.weight", [4, 6], "colwise"],
          ["embed_tokens.weight", [4, 6], "rowwise"],
          ["embed_tokens.weight", [4, 6], "embedding_rowwise"],
          ["embed_tokens.weight", [4, 6], "embedding_colwise"],
          ["a.experts.up", [2, 4, 6], "grouped_gemm"],
          ["a.norm.weight", [4], "sequence_parallel"],
          ["a.scale", [], "colwise"],
        ] as const
      ).map(([name, shape, style]) => axisOf(name, shape, style)),
      [0, 0, 1, 1, undefined, 2, 0, undefined, 1, 1, 0, 0, 1, 0, undefined, undefined],
    );
  });

  it("take the names of embeddings from the caller", () => {
    assert.equal(axisOf("tokens.weight", [4, 6], "colwise"), 0);
    assert.equal(axisOf("tokens.weight", [4, 6], "colwise", ["tokens"]), 1);
  });

  it("of ours know which side of a weight is which", () => {
    const axis = (along: "out" | "in", transposed: boolean, shape: number[], name = "a.weight"): unknown =>
      axisOf(name, shape, { along, transposed, kind: "plain" });
    assert.deepEqual([axis("out", false, [4, 6]), axis("in", false, [4, 6])], [0, 1]);
    assert.deepEqual([axis("out", true, [4, 6]), axis("in", true, [4, 6])], [1, 0]);
    assert.deepEqual([axis("out", true, [4]), axis("in", true, [4])], [0, undefined]);
    assert.deepEqual(
      [axis("out", true, [4, 6], "up_bias"), axis("in", true, [4, 6], "up_bias")],
      [1, undefined],
    );
  });

  it("that are unknown are an error with those that are known", () => {
    const message = /"colwize" is no style; known are colwise, colwise_gather_output,.*ep_dispatch_experts/;
    assert.throws(() => axisOf("a", [4], "colwize" as "colwise"), raises("INVALID_SLICE", message));
    assert.throws(() => new ParallelPlan({ a: "colwize" as "colwise" }), raises("INVALID_SLICE", message));
  });

  it("that are not complete are an error", () => {
    const refuses = (style: object, message: RegExp): void =>
      assert.throws(() => parsePlan({ "a.*": style }), raises("INVALID_SLICE", message));
    refuses({ kind: "plain" }, /the style of "a\.\*" is .*"along" is "out" or "in"/);
    refuses({ kind: "constructor", along: "in" }, /"kind" is one of plain, blocks, units, heads/);
    refuses({ kind: "heads", along: "in", heads: "8" }, /"heads" is a count/);
    refuses({ kind: "heads", along: "in", heads: 8, headDim: 0.5 }, /"headDim" is a count/);
    refuses(
      { kind: "fused_heads", along: "out", heads: 8, keyValueHeads: 2 },
      /"order" is "blocks" or "groups"/,
    );
    refuses({ kind: "blocks", along: "out", blocks: [] }, /"blocks" is a count or a list/);
    refuses({ kind: "plain", along: "out", transposed: "no" }, /"transposed" is true or false/);
    assert.throws(() => parsePlan([]), raises("INVALID_SLICE", /an object of patterns/));
    assert.throws(() => parsePlan({ a: null }), raises("INVALID_SLICE", /"kind" is one of/));
  });
});

describe("a plan", () => {
  it("prefers a tensor's own name to its module's", () => {
    const plan = new ParallelPlan({ "l.*.experts.up": "packed_colwise", "l.*.experts": "moe_tp_experts" });
    assert.equal(plan.styleOf("l.3.experts.up"), "packed_colwise");
    assert.equal(plan.styleOf("l.3.experts.down"), "moe_tp_experts");
    assert.equal(plan.styleOf("l.3.experts.up.weight"), "packed_colwise");
    assert.equal(plan.styleOf("l.3.experts.up.part.weight"), undefined);
    assert.deepEqual(plan.cut("l.3.other.weight", [4, 4], half), WHOLE);
  });

  it("has stars for numbers between dots, one each, and not for two side by side", () => {
    const plan = new ParallelPlan({ "l.*.w1": "colwise", "l.*.a.*.b": "rowwise", "x.*.*.y": "colwise" });
    assert.equal(plan.styleOf("l.10.w1.weight"), "colwise");
    assert.equal(plan.styleOf("l.10.w2.weight"), undefined);
    assert.equal(plan.styleOf("l.1.a.22.b.bias"), "rowwise");
    assert.equal(plan.styleOf("l.x.w1.weight"), undefined);
    assert.equal(plan.styleOf("x.1.2.y.weight"), undefined);
  });

  it("has stars for all digits where that is asked for", () => {
    const plan = new ParallelPlan({ "l.*.w*": "colwise", "x.*.*.y": "rowwise" }, { star: "digits" });
    assert.equal(plan.styleOf("l.10.w1.weight"), "colwise");
    assert.equal(plan.styleOf("x.1.2.y.weight"), "rowwise");
  });

  it("is the same with the prefix of a base model and without, on either side", () => {
    const base = new ParallelPlan({ "layers.*.q": "colwise", lm_head: "colwise" });
    const full = new ParallelPlan({ "model.layers.*.q": "colwise" });
    for (const prefix of ["", "model.", "language_model.model.", "model.language_model."]) {
      assert.equal(base.styleOf(`${prefix}layers.0.q.weight`), "colwise", prefix);
      assert.equal(full.styleOf(`${prefix}layers.0.q.weight`), "colwise", prefix);
    }
    assert.equal(base.styleOf("lm_head.weight"), "colwise");
    assert.equal(base.styleOf("model.vision_tower.layers.0.q.weight"), undefined);
    const own = new ParallelPlan({ "my.layers.*.q": "colwise" }, { prefixes: ["my"] });
    assert.equal(own.styleOf("layers.0.q.weight"), "colwise");
    assert.equal(own.styleOf("model.layers.0.q.weight"), undefined);
  });

  it("says what was left over", () => {
    const plan = new ParallelPlan({
      "layers.*.q": "colwise",
      "layers.*.experts": "moe_tp_experts",
      "layers.*.experts.up": "colwise",
      "layers.*.gone": "rowwise",
    });
    const names = ["model.layers.0.q.weight", "model.layers.0.experts.up", "model.norm.weight"];
    assert.deepEqual(plan.report(names), { unused: ["layers.*.gone"], whole: ["model.norm.weight"] });
    assert.deepEqual([...plan.rules.keys()].length, 4);
  });
});

describe("the plan for a model", () => {
  const llama = { model_type: "llama", num_attention_heads: 8, num_key_value_heads: 2, head_dim: 4 };

  it("comes of its configuration", () => {
    const plan = planFor(llama);
    const kv = { along: "out", kind: "key_value_heads", heads: 2, headDim: 4 };
    assert.deepEqual(plan.styleOf("model.layers.0.self_attn.k_proj.weight"), kv);
    assert.equal(
      planFor(llama, { rules: "transformers" }).styleOf("lm_head.weight"),
      "colwise_gather_output",
    );
    const nested = { model_type: "gemma3", text_config: { ...llama, model_type: "gemma3_text" } };
    assert.deepEqual(planFor(nested).styleOf("model.language_model.layers.0.self_attn.k_proj.weight"), kv);
    const padded = planFor(llama, { vocabularyMultiple: 64 }).styleOf("model.embed_tokens.weight");
    assert.deepEqual(padded, { along: "out", kind: "vocabulary", multiple: 64 });
  });

  it("has one style for embeddings and the head, which may be the same tensor", () => {
    const types: readonly (readonly [type: string, embeddings: string, head?: string])[] = [
      ["llama", "model.embed_tokens"],
      ["gpt_oss", "model.embed_tokens"],
      ["deepseek_v3", "model.embed_tokens"],
      ["gpt2", "wte"],
      ["bloom", "word_embeddings"],
      ["falcon", "transformer.word_embeddings"],
      ["opt", "model.decoder.embed_tokens"],
      ["bert", "bert.embeddings.word_embeddings", "cls.predictions.decoder"],
    ];
    for (const [model_type, embeddings, head = "lm_head"] of types) {
      const plan = planFor({ ...llama, model_type });
      const style = plan.styleOf(`${embeddings}.weight`);
      assert.deepEqual(style, { along: "out", kind: "vocabulary" }, model_type);
      assert.deepEqual(plan.styleOf(`${head}.weight`), style, model_type);
    }
    const plan = planFor(llama, { rules: "transformers" });
    const cut = (name: string): unknown => plan.cut(name, [10, 4], half);
    assert.deepEqual(cut("model.embed_tokens.weight"), cut("lm_head.weight"));
  });

  it("knows who has a key head for each query head", () => {
    const heads = (config: object): unknown =>
      (planFor(config as typeof llama).styleOf("layers.0.self_attn.k_proj.weight") as { heads: number })
        .heads;
    assert.equal(heads({ model_type: "llama", num_attention_heads: 8 }), 8);
    assert.equal(heads({ model_type: "mistral", num_attention_heads: 8, num_key_value_heads: null }), 8);
  });

  it("needs fields, which are named if they are missing or no counts", () => {
    const refuses = (config: Record<string, unknown>, message: RegExp): void =>
      assert.throws(() => planFor(config), raises("INVALID_SLICE", message));
    refuses({}, /no "model_type"/);
    refuses({ model_type: "llama" }, /this "llama" has no "num_key_value_heads" or "num_attention_heads"/);
    refuses({ model_type: "mistral", num_attention_heads: 8 }, /has no "num_key_value_heads"/);
    refuses(
      { ...llama, num_attention_heads: "8" },
      /"num_attention_heads" .* is "\\"8\\"", which is no positive/,
    );
    refuses({ ...llama, head_dim: -1 }, /"head_dim" .* no positive integer/);
    refuses({ model_type: "gpt2" }, /has no "n_head" or "num_attention_heads"/);
  });

  it("is not known for every model", () => {
    const unknown = { ...llama, model_type: "toString" };
    assert.throws(() => planFor(unknown), raises("UNSUPPORTED", /"toString".*known are llama, mistral/));
    const gpt2 = { model_type: "gpt2", n_head: 2 };
    assert.throws(() => planFor(gpt2, { rules: "transformers" }), raises("UNSUPPORTED", /"gpt2"/));
  });
});

describe("the plans that are known", () => {
  /** What rank 1 of 2 has along the axis that is cut, as `axis: start:stop …`. */
  const cutBy = (config: object, rules: "vllm" | "transformers", name: string, shape: number[]): string => {
    const [cut] = planFor(config as Record<string, unknown>, { rules }).cut(name, shape, half);
    return cut
      ? `${cut.axis}: ${cut.ranges.map(({ start, stop }) => `${start}:${stop}`).join(" ")}`
      : "whole";
  };
  const gqa = { num_attention_heads: 4, num_key_value_heads: 2 };

  it("cut matrices in one as each model has them", () => {
    const cases: readonly (readonly [config: object, name: string, shape: number[], expected: string])[] = [
      [{ model_type: "phi3", ...gqa }, "layers.0.self_attn.qkv_proj.weight", [8, 3], "0: 2:4 5:6 7:8"],
      [{ model_type: "phi3", ...gqa }, "layers.0.mlp.gate_up_proj.weight", [8, 3], "0: 2:4 6:8"],
      [{ model_type: "gpt2", n_head: 2 }, "h.0.attn.c_attn.weight", [3, 6], "1: 1:2 3:4 5:6"],
      [{ model_type: "gpt2", n_head: 2 }, "transformer.h.0.attn.c_attn.bias", [6], "0: 1:2 3:4 5:6"],
      [{ model_type: "gpt2", n_head: 2 }, "h.0.mlp.c_fc.weight", [3, 6], "1: 3:6"],
      [{ model_type: "gpt2", n_head: 2 }, "h.0.mlp.c_proj.weight", [6, 3], "0: 3:6"],
      [{ model_type: "gpt2", n_head: 2 }, "h.0.mlp.c_proj.bias", [3], "whole"],
      [{ model_type: "bloom", n_head: 2 }, "h.0.self_attention.query_key_value.weight", [6, 3], "0: 3:6"],
      [
        { model_type: "falcon", num_attention_heads: 4, num_kv_heads: 2, new_decoder_architecture: true },
        "transformer.h.0.self_attention.query_key_value.weight",
        [8, 3],
        "0: 4:8",
      ],
      [
        { model_type: "falcon", num_attention_heads: 4, num_kv_heads: 2 },
        "transformer.h.0.self_attention.query_key_value.weight",
        [6, 3],
        "0: 2:4 4:6",
      ],
      [
        { model_type: "falcon", num_attention_heads: 4, multi_query: false },
        "transformer.h.0.self_attention.query_key_value.weight",
        [12, 3],
        "0: 6:12",
      ],
      [{ model_type: "gpt_oss", ...gqa }, "layers.0.mlp.experts.gate_up_proj", [2, 3, 12], "2: 6:12"],
      [{ model_type: "gpt_oss", ...gqa }, "layers.0.mlp.experts.gate_up_proj_bias", [2, 12], "1: 6:12"],
      [{ model_type: "gpt_oss", ...gqa }, "layers.0.mlp.experts.down_proj", [2, 6, 3], "1: 3:6"],
      [{ model_type: "gpt_oss", ...gqa }, "layers.0.mlp.experts.down_proj_bias", [2, 3], "whole"],
      [{ model_type: "gpt_oss", ...gqa }, "layers.0.self_attn.sinks", [4], "0: 2:4"],
      [{ model_type: "mixtral", ...gqa }, "layers.0.mlp.experts.gate_up_proj", [2, 8, 3], "1: 2:4 6:8"],
      [{ model_type: "mixtral", ...gqa }, "layers.0.block_sparse_moe.experts.1.w2.weight", [3, 8], "1: 4:8"],
      [{ model_type: "mixtral", ...gqa }, "layers.0.block_sparse_moe.gate.weight", [2, 3], "whole"],
      [{ model_type: "deepseek_v3", ...gqa }, "layers.0.self_attn.kv_b_proj.weight", [8, 3], "0: 4:8"],
      [
        { model_type: "deepseek_v3", ...gqa },
        "layers.0.self_attn.kv_a_proj_with_mqa.weight",
        [8, 3],
        "whole",
      ],
      [{ model_type: "qwen2_moe", ...gqa }, "layers.0.mlp.shared_expert.down_proj.weight", [3, 8], "1: 4:8"],
      [{ model_type: "opt", ...gqa }, "model.decoder.layers.0.self_attn.out_proj.weight", [8, 8], "1: 4:8"],
      [
        { model_type: "bert", ...gqa },
        "bert.encoder.layer.0.attention.output.dense.weight",
        [8, 8],
        "1: 4:8",
      ],
    ];
    for (const [config, name, shape, expected] of cases)
      assert.equal(cutBy(config, "vllm", name, shape), expected, `${JSON.stringify(config)} ${name}`);
  });

  it("are those of transformers where that is asked for", () => {
    const cut = (model_type: string, name: string, shape: number[]): string =>
      cutBy({ model_type }, "transformers", name, shape);
    assert.equal(cut("phi3", "layers.0.self_attn.qkv_proj.weight", [8, 3]), "0: 4:8");
    assert.equal(cut("mixtral", "layers.0.mlp.experts.gate_up_proj", [2, 8, 3]), "1: 2:4 6:8");
    assert.equal(cut("qwen3", "layers.0.self_attn.q_norm.weight", [8]), "whole");
    assert.equal(cut("gpt_oss", "layers.0.self_attn.q_proj.weight", [8, 3]), "whole");
    assert.equal(cut("deepseek_v2", "layers.0.self_attn.kv_b_proj.weight", [8, 3]), "0: 4:8");
    assert.equal(cut("deepseek_v3", "layers.0.self_attn.kv_b_proj.weight", [8, 3]), "whole");
    assert.equal(cut("llama", "layers.0.self_attn.o_proj.bias", [8]), "whole");
  });
});
