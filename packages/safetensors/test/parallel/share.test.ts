import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { TensorHandle as Handle } from "../../src/checkpoint/tensor.ts";
import type { WorldOptions } from "../../src/parallel/division.ts";
import { joinShards } from "../../src/parallel/join.ts";
import { Mesh } from "../../src/parallel/mesh.ts";
import { ParallelPlan } from "../../src/parallel/plan.ts";
import { rankShare, worldTable } from "../../src/parallel/share.ts";
import { raises } from "../support.ts";
import { tensorOf } from "./tensors.ts";

const config = {
  model_type: "qwen3_moe",
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 2,
  num_hidden_layers: 2,
  num_experts: 3,
  tie_word_embeddings: false,
};

/** The tensors of such a model, whose experts are one by one or stacked. */
function model(form: "apart" | "stacked"): TensorHandle[] {
  const layer = (index: number): [string, number[]][] => {
    const at = `model.layers.${index}`;
    const expert = (e: number): [string, number[]][] => [
      [`${at}.mlp.experts.${e}.gate_proj.weight`, [4, 8]],
      [`${at}.mlp.experts.${e}.up_proj.weight`, [4, 8]],
      [`${at}.mlp.experts.${e}.down_proj.weight`, [8, 4]],
    ];
    return [
      [`${at}.self_attn.q_proj.weight`, [8, 8]],
      [`${at}.self_attn.k_proj.weight`, [4, 8]],
      [`${at}.self_attn.v_proj.weight`, [4, 8]],
      [`${at}.self_attn.o_proj.weight`, [8, 8]],
      [`${at}.input_layernorm.weight`, [8]],
      [`${at}.mlp.gate.weight`, [3, 8]],
      ...(form === "apart"
        ? [0, 1, 2].flatMap(expert)
        : ([
            [`${at}.mlp.experts.gate_up_proj`, [3, 8, 8]],
            [`${at}.mlp.experts.down_proj`, [3, 8, 4]],
          ] as [string, number[]][])),
    ];
  };
  const shapes: [string, number[]][] = [
    ["model.embed_tokens.weight", [10, 8]],
    ...layer(0),
    ...layer(1),
    ["model.norm.weight", [8]],
    ["lm_head.weight", [10, 8]],
  ];
  return shapes.map(([name, shape], seed) => tensorOf(name, shape, "BF16", seed + 1));
}

const namesOf = (options: WorldOptions, rank: number, tensors = model("apart")): string[] =>
  rankShare({ ...options, rank }, tensors).map(({ name }) => name);

describe("a mesh", () => {
  it("gives ranks their places, neighbours along the last axis first", () => {
    const mesh = new Mesh({ tp: 2, pp: 3 });
    assert.equal(mesh.size, 6);
    assert.deepEqual(mesh.coordinatesOf(3), { tp: 1, pp: 1, ep: 0, dp: 0 });
    const other = new Mesh({ tp: 2, pp: 3, dp: 2 }, ["dp", "tp", "pp", "ep"]);
    assert.deepEqual(other.coordinatesOf(10), { tp: 1, pp: 1, ep: 0, dp: 1 });
  });

  it("is refused for what is no world", () => {
    assert.throws(() => new Mesh({ tp: 0 }), raises("INVALID_SLICE", /0 is no number of tp ranks/));
    assert.throws(() => new Mesh({ tp: 1000, dp: 1000 }), raises("INVALID_SLICE", /more than 65536/));
    assert.throws(() => new Mesh({}, ["tp", "tp", "pp", "dp"]), raises("INVALID_SLICE", /once/));
    assert.throws(() => new Mesh({ tp: 2 }).coordinatesOf(2), raises("INVALID_SLICE", /no rank 2/));
  });
});

describe("the shares of all ranks", () => {
  const worlds: readonly WorldOptions[] = [
    { world: { tp: 2 } },
    { world: { tp: 4 } },
    { world: { pp: 2 } },
    { world: { ep: 2 } },
    { world: { ep: 4 }, experts: { placement: "round_robin" } },
    { world: { tp: 2, pp: 2, ep: 2, dp: 2 } },
    { world: { tp: 2, ep: 2 }, experts: { placement: "round_robin" }, order: ["tp", "ep", "pp", "dp"] },
    { world: { tp: 2, dp: 2 }, experts: { over: ["dp", "tp"] } },
  ];
  for (const form of ["apart", "stacked"] as const) {
    for (const options of worlds) {
      it(`are the checkpoint: ${JSON.stringify(options)}, experts ${form}`, async () => {
        const tensors = model(form);
        const table = worldTable({ config, ...options }, tensors);
        const shares = table.ranks.map(({ rank }) => rankShare({ config, ...options, rank }, tensors));
        for (const tensor of tensors) {
          const shards = shares.flat().filter(({ name }) => name === tensor.name);
          const views = shards.map(({ handle, cut }) => ({ view: handle.view, cut }));
          const joined = new Handle(tensor.name, joinShards(tensor.shape, views));
          assert.deepEqual(await joined.bytes(), await tensor.bytes(), tensor.name);
        }
        for (const [rank, share] of shares.entries()) {
          const bytes = share.reduce((sum, { handle }) => sum + handle.byteLength, 0);
          assert.deepEqual(
            { tensors: share.length, bytes },
            { tensors: table.ranks[rank]!.tensors, bytes: table.ranks[rank]!.bytes },
          );
        }
        assert.equal(
          table.wholeBytes,
          tensors.reduce((sum, { byteLength }) => sum + byteLength, 0),
        );
      });
    }
  }
});

describe("the table of a world", () => {
  it("says what was left over", () => {
    const tensors = [...model("apart"), tensorOf("something.weight", [2])];
    const plan = new ParallelPlan({ lm_head: "colwise", gone: "rowwise" });
    const table = worldTable({ config, plan, world: { tp: 2, pp: 2 } }, tensors);
    assert.deepEqual(table.plan?.unused, ["gone"]);
    assert.equal(table.plan?.whole.length, tensors.length - 1);
    assert.deepEqual(table.unplaced, ["something.weight"]);
    const { plan: none, unplaced } = worldTable({ world: { dp: 2 } }, tensors);
    assert.deepEqual([none, unplaced], [undefined, []]);
  });
});

describe("the share of a rank", () => {
  it("has only its experts, whole or cut", () => {
    const experts = (options: WorldOptions, rank: number): string[] =>
      rankShare({ config, ...options, rank }, model("apart")).flatMap(({ name, handle }) => {
        return /layers\.0.*experts.*up_proj/.test(name) ? [`${name.split(".")[5]} ${handle.shape}`] : [];
      });
    assert.deepEqual(experts({ world: { ep: 2 } }, 0), ["0 4,8", "1 4,8"]);
    assert.deepEqual(experts({ world: { ep: 2 } }, 1), ["2 4,8"]);
    assert.deepEqual(experts({ world: { ep: 2, tp: 2 } }, 3), ["2 2,8"]);
    const spread: WorldOptions = { world: { dp: 2, tp: 2 }, experts: { over: ["dp", "tp"] } };
    assert.deepEqual(
      [0, 1, 2, 3].map((rank) => experts(spread, rank)),
      [["0 4,8"], ["1 4,8"], ["2 4,8"], []],
    );
  });

  it("has the layers of its stage", () => {
    const first = namesOf({ config, world: { pp: 2 } }, 0);
    assert.ok(
      first.includes("model.embed_tokens.weight") && first.includes("model.layers.0.mlp.gate.weight"),
    );
    assert.ok(
      !first.some((name) => /layers\.1|norm\.weight$|lm_head/.test(name.replace("input_layernorm", ""))),
    );
    const last = namesOf({ config, world: { pp: 2 } }, 1);
    assert.deepEqual(
      last.filter((name) => !name.includes(".layers.1.")),
      ["model.norm.weight", "lm_head.weight"],
    );
  });

  it("has the embeddings where the head is made of them", () => {
    const withoutHead = model("apart").filter(({ name }) => name !== "lm_head.weight");
    const has = (tensors: TensorHandle[], more: object): boolean =>
      namesOf({ config: { ...config, ...more }, world: { pp: 2 } }, 1, tensors).includes(
        "model.embed_tokens.weight",
      );
    assert.equal(has(model("apart"), {}), false);
    assert.equal(has(model("apart"), { tie_word_embeddings: true }), true);
    assert.equal(has(model("apart"), { tie_word_embeddings: null }), false);
    assert.equal(has(withoutHead, { tie_word_embeddings: null }), true);
  });

  it("needs no more than what it is divided by", () => {
    const tensors = model("apart");
    assert.equal(namesOf({ world: {} }, 0).length, tensors.length);
    const plan = new ParallelPlan({ lm_head: "colwise" });
    assert.equal(rankShare({ world: { tp: 2 }, plan, rank: 1 }, tensors).at(-1)!.handle.shape[0], 5);
    const layers = { layers: { layers: 1 } };
    assert.ok(namesOf({ world: { pp: 2 }, pipeline: layers }, 1).includes("model.layers.1.mlp.gate.weight"));
    assert.throws(
      () => namesOf({ world: { tp: 2 } }, 0),
      raises("INVALID_SLICE", /needs the option "config" or "plan"/),
    );
    assert.throws(() => namesOf({ world: { pp: 2 } }, 0), raises("INVALID_SLICE", /"pipeline.layers"/));
    assert.throws(() => namesOf({ world: { ep: 2 } }, 0), raises("INVALID_SLICE", /"experts.count"/));
    const { num_experts: _, ...rest } = config;
    const message = /no "num_local_experts" or "num_experts" or "n_routed_experts"/;
    assert.throws(() => namesOf({ world: { ep: 2 }, config: rest }, 0), raises("INVALID_SLICE", message));
    const head = model("apart").filter(({ name }) => name === "lm_head.weight");
    assert.equal(namesOf({ world: { ep: 2 } }, 0, head).length, 1);
  });

  it("is refused for a rank that there is not", () => {
    assert.throws(
      () => namesOf({ world: { ep: 2 }, config }, 2),
      raises("INVALID_SLICE", /no rank 2 in a world of 2/),
    );
  });
});
