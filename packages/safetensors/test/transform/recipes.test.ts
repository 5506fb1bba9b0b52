import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { applyRecipe } from "../../src/transform/apply.ts";
import { invertRecipe } from "../../src/transform/invert.ts";
import { RECIPES } from "../../src/transform/named.ts";
import { parseRecipe } from "../../src/transform/recipe.ts";
import { checkpointOf, contentOf } from "./tensors.ts";

const layers = (...names: [string, number[]][]): Record<string, number[]> =>
  Object.fromEntries(
    [0, 1].flatMap((layer) => names.map(([name, shape]) => [name.replace("#", `${layer}`), shape])),
  );

/** A small checkpoint for each recipe, and the variables that it needs. */
const CASES: Readonly<
  Record<string, { shapes: Record<string, number[]>; variables?: Record<string, number> }>
> = {
  "falcon-qkv": {
    shapes: layers(["transformer.h.#.self_attention.query_key_value.weight", [(4 + 2 * 2) * 3, 12]]),
    variables: { num_attention_heads: 4, num_kv_heads: 2, hidden_size: 12 },
  },
  "gate-up-fused": {
    shapes: layers(
      ["model.layers.#.mlp.gate_proj.weight", [6, 4]],
      ["model.layers.#.mlp.up_proj.weight", [6, 4]],
    ),
  },
  "gpt2-linear": {
    shapes: layers(
      ["h.#.attn.c_attn.weight", [4, 12]],
      ["h.#.attn.c_attn.bias", [12]],
      ["h.#.attn.c_proj.weight", [4, 4]],
      ["h.#.mlp.c_fc.weight", [4, 16]],
      ["h.#.mlp.c_proj.weight", [16, 4]],
    ),
  },
  "gpt-oss-gate-up": {
    shapes: layers(
      ["model.layers.#.mlp.experts.gate_up_proj", [2, 3, 8]],
      ["model.layers.#.mlp.experts.gate_up_proj_bias", [2, 8]],
    ),
  },
  "meta-llama": {
    shapes: {
      "tok_embeddings.weight": [5, 8],
      "norm.weight": [8],
      "output.weight": [5, 8],
      ...layers(
        ["layers.#.attention.wq.weight", [8, 8]],
        ["layers.#.attention.wk.weight", [4, 8]],
        ["layers.#.attention.wv.weight", [4, 8]],
        ["layers.#.attention.wo.weight", [8, 8]],
        ["layers.#.feed_forward.w1.weight", [6, 8]],
        ["layers.#.feed_forward.w2.weight", [8, 6]],
        ["layers.#.feed_forward.w3.weight", [6, 8]],
        ["layers.#.attention_norm.weight", [8]],
        ["layers.#.ffn_norm.weight", [8]],
      ),
    },
    variables: { n_heads: 2, n_kv_heads: 1 },
  },
  "mixtral-experts": {
    shapes: layers(
      ["model.layers.#.block_sparse_moe.gate.weight", [3, 4]],
      ...[0, 1, 2].flatMap((expert): [string, number[]][] => [
        [`model.layers.#.block_sparse_moe.experts.${expert}.w1.weight`, [6, 4]],
        [`model.layers.#.block_sparse_moe.experts.${expert}.w2.weight`, [4, 6]],
        [`model.layers.#.block_sparse_moe.experts.${expert}.w3.weight`, [6, 4]],
      ]),
    ),
  },
  "phi3-fused": {
    shapes: layers(
      ["model.layers.#.self_attn.q_proj.weight", [8, 8]],
      ["model.layers.#.self_attn.k_proj.weight", [2, 8]],
      ["model.layers.#.self_attn.v_proj.weight", [2, 8]],
      ["model.layers.#.mlp.gate_proj.weight", [6, 8]],
      ["model.layers.#.mlp.up_proj.weight", [6, 8]],
    ),
    variables: { num_attention_heads: 4, num_key_value_heads: 1, hidden_size: 8 },
  },
  "qwen-experts": {
    // Twelve, so that the order of the numbers is not that of their text.
    shapes: layers(
      ...Array.from({ length: 12 }, (_, expert) => expert).flatMap((expert): [string, number[]][] => [
        [`model.layers.#.mlp.experts.${expert}.gate_proj.weight`, [2, 4]],
        [`model.layers.#.mlp.experts.${expert}.up_proj.weight`, [2, 4]],
        [`model.layers.#.mlp.experts.${expert}.down_proj.weight`, [4, 2]],
      ]),
    ),
  },
};

/** The elements of a tensor of two bytes each. */
async function rowsOf(tensor: TensorHandle, row: number): Promise<number[][]> {
  const all = [...((await tensor.data()) as Uint16Array)];
  return Array.from({ length: all.length / row }, (_, i) => all.slice(i * row, (i + 1) * row));
}

describe("the recipes", () => {
  it("are those that are tried here", () => {
    assert.deepEqual([...RECIPES.keys()].sort(), Object.keys(CASES).sort());
  });

  for (const [name, { shapes, variables = {} }] of Object.entries(CASES)) {
    it(`${name} is valid, uses all that it should, and works in reverse`, async () => {
      const recipe = RECIPES.get(name)!;
      assert.deepEqual(parseRecipe(JSON.stringify(recipe)), recipe);
      assert.equal(recipe.name, name);
      const checkpoint = await checkpointOf(shapes);
      const forth = applyRecipe(checkpoint, recipe, { variables });
      assert.equal(forth.report.kept, name === "gpt2-linear" ? 2 : 0);
      const back = applyRecipe(forth.tensors, invertRecipe(recipe), { variables });
      assert.deepEqual(await contentOf(back.tensors), await contentOf(checkpoint));
      assert.deepEqual(invertRecipe(invertRecipe(recipe)), {
        ...recipe,
        steps: recipe.steps.filter(({ to }) => to),
      });
    });
  }

  it("qwen-experts puts gate before up, expert by expert in the order of their numbers", async () => {
    const checkpoint = await checkpointOf(CASES["qwen-experts"]!.shapes);
    const { tensors } = applyRecipe(checkpoint, RECIPES.get("qwen-experts")!);
    const fused = tensors.find(({ name }) => name === "model.layers.1.mlp.experts.gate_up_proj")!;
    assert.deepEqual(fused.shape, [12, 4, 4]);
    const found = await rowsOf(fused, 4);
    const expected: number[][] = [];
    for (let expert = 0; expert < 12; expert++) {
      for (const kind of ["gate", "up"]) {
        expected.push(
          ...(await rowsOf(checkpoint.get(`model.layers.1.mlp.experts.${expert}.${kind}_proj.weight`), 4)),
        );
      }
    }
    assert.deepEqual(found, expected);
  });

  it("meta-llama permutes the rows of each head: those that were neighbours are half a head apart", async () => {
    const { shapes, variables } = CASES["meta-llama"]!;
    const checkpoint = await checkpointOf({ ...shapes, "rope.freqs": [2] });
    const { tensors, report } = applyRecipe(checkpoint, RECIPES.get("meta-llama")!, {
      variables: variables!,
    });
    const found = tensors.find(({ name }) => name === "model.layers.0.self_attn.q_proj.weight")!;
    const old = await rowsOf(checkpoint.get("layers.0.attention.wq.weight"), 8);
    assert.deepEqual(
      await rowsOf(found, 8),
      [0, 2, 1, 3, 4, 6, 5, 7].map((row) => old[row]),
    );
    assert.deepEqual(report.dropped, ["rope.freqs"]);
  });
});
