import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cutExperts, expertPartOf, expertRange, hasExpert } from "../../src/parallel/experts.ts";
import { raises } from "../support.ts";

const expertsOf = (experts: number, world: number, placement: "linear" | "round_robin"): number[][] =>
  Array.from({ length: world }, (_, rank) => {
    const range = expertRange({ experts, rank, world, placement });
    return Array.from({ length: experts }, (_, expert) => expert).filter((expert) =>
      hasExpert(range, expert),
    );
  });

describe("experts", () => {
  it("are neighbours, one more for each of the first ranks (vLLM's linear placement)", () => {
    assert.deepEqual(expertsOf(8, 3, "linear"), [
      [0, 1, 2],
      [3, 4, 5],
      [6, 7],
    ]);
    assert.deepEqual(expertsOf(2, 3, "linear"), [[0], [1], []]);
  });

  it("are given out in turns (vLLM's round robin)", () => {
    assert.deepEqual(expertsOf(8, 3, "round_robin"), [
      [0, 3, 6],
      [1, 4, 7],
      [2, 5],
    ]);
    assert.deepEqual(expertsOf(2, 3, "round_robin"), [[0], [1], []]);
  });

  it("have to divide where that is asked for (transformers)", () => {
    const strict = { experts: 8, rank: 0, world: 3, uneven: "strict" } as const;
    assert.throws(() => expertRange(strict), raises("INVALID_SLICE", /8 experts do not divide by 3 ranks/));
    assert.throws(() => expertRange({ experts: 8, rank: 3, world: 3 }), raises("INVALID_SLICE", /no rank 3/));
    assert.throws(
      () => expertRange({ experts: -1, rank: 0, world: 3 }),
      raises("INVALID_SLICE", /no number/),
    );
  });

  it("are told by the names of tensors", () => {
    assert.deepEqual(expertPartOf("model.layers.0.mlp.experts.7.up_proj.weight"), { kind: "one", expert: 7 });
    assert.deepEqual(expertPartOf("model.layers.0.mlp.experts.gate_up_proj"), { kind: "all" });
    assert.equal(expertPartOf("model.layers.0.mlp.shared_experts.up_proj.weight"), undefined);
    assert.equal(expertPartOf("model.layers.0.mlp.experts"), undefined);
  });

  it("are cut along the first axis where they are stacked", () => {
    const options = { experts: 8, rank: 1, world: 3 };
    const all = { kind: "all" } as const;
    assert.deepEqual(cutExperts(all, [8, 2, 2], options), { axis: 0, ranges: [{ start: 3, stop: 6 }] });
    assert.equal(cutExperts({ kind: "one", expert: 5 }, [2, 2], options), "whole");
    assert.equal(cutExperts({ kind: "one", expert: 6 }, [2, 2], options), "none");
    assert.throws(() => cutExperts(all, [7, 2], options), raises("INVALID_SLICE", /not one of 8 experts/));
    const ninth = { kind: "one", expert: 8 } as const;
    assert.throws(() => cutExperts(ninth, [2], options), raises("INVALID_SLICE", /no expert 8 of 8/));
  });
});
