import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { SafetensorsError } from "../../src/errors.ts";
import { legalWorldSizes, type Obstacle } from "../../src/parallel/legal-world-sizes.ts";
import { ParallelPlan } from "../../src/parallel/plan.ts";
import { rankShare, worldTable } from "../../src/parallel/share.ts";
import type { QuantizedWeight } from "../../src/quant/weight.ts";
import { blockWeight } from "../quant/weights.ts";
import { raises } from "../support.ts";
import { tensorOf } from "./tensors.ts";

const plan = new ParallelPlan({ "layers.*.up": "colwise", "layers.*.down": "rowwise" });

function quantizedOf(weights: readonly QuantizedWeight[], extras: readonly string[] = []) {
  const parts = weights.flatMap((weight) => weight.parts.map(({ name }) => [name, weight] as const));
  return { weightOf: new Map(parts), extras: new Set(extras) };
}

function isRefused(share: () => unknown): boolean {
  try {
    share();
    return false;
  } catch (error) {
    return error instanceof SafetensorsError && error.code === "INVALID_SLICE";
  }
}

describe("quantised weights among ranks", () => {
  const up = blockWeight("layers.0.up", [16, 64], [4, 32]);
  const down = blockWeight("layers.0.down", [64, 96], [4, 32]);
  const marker = tensorOf("layers.0.up.marker", [2], "U8");
  const tensors = [...up.tensors, ...down.tensors, marker, tensorOf("layers.0.up.bias", [16])];
  const quantized = quantizedOf([up.weight, down.weight], [marker.name]);

  it("are cut with all that belongs to them", async () => {
    const share = rankShare(
      { world: { tp: 2 }, plan, quantized, rank: 1 },
      tensors.filter(({ name }) => !name.includes("down")),
    );
    const shapes = share.map(({ handle }) => `${handle.name} ${handle.shape}`);
    assert.deepEqual(shapes, [
      "layers.0.up.weight 8,64",
      "layers.0.up.scales 2,2",
      "layers.0.up.shape 2",
      "layers.0.up.marker 2",
      "layers.0.up.bias 8",
    ]);
    assert.deepEqual([...(await share[2]!.handle.data())], [8n, 64n]);
    assert.equal(share[2]!.restated, true);
    assert.deepEqual(await share[1]!.handle.bytes(), (await up.tensors[1]!.bytes()).subarray(8));
  });

  it("count in the table of bytes as they are cut", () => {
    const { ranks } = worldTable({ world: { tp: 2 }, plan, quantized }, [...up.tensors]);
    assert.deepEqual(
      ranks.map(({ bytes }) => bytes),
      [8 * 64 + 2 * 2 * 2 + 16, 8 * 64 + 2 * 2 * 2 + 16],
    );
  });

  it("are refused where a cut goes through a block, with what forbids it", () => {
    const world = { world: { tp: 2 }, plan, quantized, rank: 0 };
    assert.throws(
      () => rankShare(world, down.tensors),
      raises("INVALID_SLICE", /0:48 of axis 1 does not lie on multiples of 32: "layers\.0\.down\.scales"/),
    );
  });

  it("say which sizes of the world are possible", () => {
    const verdicts = legalWorldSizes({ plan, quantized, upTo: 8 }, tensors);
    assert.deepEqual(
      verdicts.filter(({ obstacles }) => obstacles.length === 0).map(({ tp }) => tp),
      [1],
    );
    const alone = legalWorldSizes({ plan, quantized: quantizedOf([up.weight]), upTo: 8 }, up.tensors);
    assert.deepEqual(
      alone.filter(({ obstacles }) => obstacles.length === 0).map(({ tp }) => tp),
      [1, 2, 4],
    );
    const [three, eight] = [alone[2]!.obstacles[0]!, alone[7]!.obstacles[0]!];
    assert.match(three.reason, /16/);
    assert.match(eight.reason, /0:2 of axis 0 does not lie on multiples of 4/);
    assert.equal(eight.tensor, "layers.0.up.weight");
  });

  it("count layers that are alike once, and say how many they are", () => {
    const layers = [0, 1, 2].map((n) => tensorOf(`layers.${n}.up.weight`, [9, 4]));
    const [, two, three] = legalWorldSizes({ plan, upTo: 3 }, layers);
    assert.deepEqual(three!.obstacles, []);
    assert.equal(two!.obstacles.length, 1);
    assert.deepEqual([two!.obstacles[0]!.tensor, two!.obstacles[0]!.others], ["layers.0.up.weight", 2]);
    assert.throws(
      () => legalWorldSizes({ plan, upTo: 0 }, layers),
      raises("INVALID_SLICE", /from 1 to 1024/),
    );
  });

  it("forbid all sizes that groups do not divide by: 231 groups of 128 inputs", () => {
    const { weight, tensors } = blockWeight("layers.0.down", [2, 29568], [1, 128]);
    const verdicts = legalWorldSizes({ plan, quantized: quantizedOf([weight]), upTo: 12 }, tensors);
    const legal = verdicts.filter(({ obstacles }) => obstacles.length === 0).map(({ tp }) => tp);
    assert.deepEqual(legal, [1, 3, 7, 11]);
    const [{ tensor, reason, others }] = verdicts[1]!.obstacles as [Obstacle];
    assert.deepEqual([tensor, others], ["layers.0.down.weight", 2]);
    assert.match(reason, /0:14784 of axis 1 does not lie on multiples of 128: "layers\.0\.down\.scales"/);
  });

  it("forbid just the sizes for which some rank has no share, whatever shapes and blocks are", () => {
    const size = fc.integer({ min: 1, max: 24 });
    const block = fc.integer({ min: 1, max: 6 });
    const sizes = fc.tuple(size, size, block, block, fc.constantFrom<"chunk" | "strict">("chunk", "strict"));
    const property = fc.property(sizes, ([rows, columns, height, width, uneven]) => {
      // Square matrices whose names differ in a digit are still cut along different axes.
      const made = ["layers.0.w1", "layers.0.w2"].map((module) =>
        blockWeight(module, [rows, columns], [height, width]),
      );
      const tensors = made.flatMap((one) => one.tensors);
      const quantized = quantizedOf(made.map(({ weight }) => weight));
      const rules = new ParallelPlan({ "layers.*.w1": "colwise", "layers.*.w2": "rowwise" });
      const options = { plan: rules, quantized, uneven };
      for (const { tp, obstacles } of legalWorldSizes({ ...options, upTo: 6 }, tensors)) {
        const share = (rank: number) => () => rankShare({ ...options, world: { tp }, rank }, tensors);
        const ranks = Array.from({ length: tp }, (_, rank) => share(rank));
        if (obstacles.length === 0) for (const one of ranks) one();
        else assert.ok(ranks.some(isRefused), `${tp}`);
      }
    });
    fc.assert(property, { seed: 42, numRuns: 60 });
  });

  it("of several experts go with what each expert has beside them", () => {
    const name = "layers.0.experts.up";
    const made = blockWeight(name, [4, 8, 8], [4, 4], { besides: [`${name}.input_scale`, `${name}.scale`] });
    const besides = [tensorOf(`${name}.input_scale`, [4], "F32"), tensorOf(`${name}.scale`, [1], "F32")];
    const { weightOf, extras } = quantizedOf([made.weight]);
    for (const beside of besides) weightOf.set(beside.name, made.weight);
    const options = { quantized: { weightOf, extras }, plan, experts: { count: 4 }, rank: 1 };
    const shapes = (world: object): string[] =>
      rankShare({ ...options, world }, besides).map(({ handle }) => `${handle.shape}`);
    assert.deepEqual(shapes({ ep: 2 }), ["2", "1"]);
    assert.deepEqual(shapes({ tp: 2 }), ["4", "1"]);
  });

  it("are not cut as if they were plain integers", () => {
    const packed = tensorOf("layers.0.up.qweight", [8, 8], "I32");
    assert.throws(
      () => rankShare({ world: { tp: 2 }, plan, rank: 0 }, [packed]),
      raises("INVALID_SLICE", /give the option "quantized"/),
    );
  });
});
