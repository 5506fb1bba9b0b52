import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { legalWorldSizes } from "../../src/parallel/legal-world-sizes.ts";
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

  it("are not cut as if they were plain integers", () => {
    const packed = tensorOf("layers.0.up.qweight", [8, 8], "I32");
    assert.throws(
      () => rankShare({ world: { tp: 2 }, plan, rank: 0 }, [packed]),
      raises("INVALID_SLICE", /give the option "quantized"/),
    );
  });
});
