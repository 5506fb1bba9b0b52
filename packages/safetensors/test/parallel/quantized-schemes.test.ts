import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import type { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { SafetensorsError } from "../../src/errors.ts";
import type { WorldOptions } from "../../src/parallel/division.ts";
import { legalWorldSizes } from "../../src/parallel/legal-world-sizes.ts";
import { mergeRanks } from "../../src/parallel/merge-ranks.ts";
import { genericName } from "../../src/parallel/names.ts";
import { ParallelPlan } from "../../src/parallel/plan.ts";
import { planFor } from "../../src/parallel/plan-for.ts";
import { rankShare } from "../../src/parallel/share.ts";
import { shareCheckpoint } from "../../src/parallel/share-checkpoint.ts";
import { dequantized } from "../../src/quant/dequantize.ts";
import { findQuantized, type Quantization } from "../../src/quant/find.ts";
import type { QuantizedWeight } from "../../src/quant/weight.ts";
import { checkpointOf as caseOf, casesOf } from "../quant/fp8-cases.ts";
import { fixtureFound } from "../quant/gptq-layers.ts";
import { configOf, openCase } from "../quant/others.ts";
import { raises } from "../support.ts";
import { checkpointOf } from "./ranks.ts";

/** A checkpoint that an original wrote, and its configuration. */
interface Case {
  readonly title: string;
  readonly checkpoint: Checkpoint;
  readonly configs: Readonly<Record<string, unknown>>;
}

const OTHERS =
  "gpt-oss gpt-oss-original bitsandbytes-4bit bitsandbytes-int8 mlx-affine-3-float32 mlx-nvfp4-4-float32 torchao-bfloat16 bitnet";
const OF_GPTQ = "gptq/gptq_v2 gptq/act-order awq/gemm awq/gemv-64";
const OF_CT =
  /4 (True|False) group|^float-quantized \[20|^nvfp4|^mxfp|old packing of [45]|dense packing|fused|V4|fbgemm|^NVFP4_AWQ|^W4A16|^MX|^blocks/;

async function allCases(): Promise<Case[]> {
  const cases: Case[] = [];
  for (const title of OTHERS.split(" "))
    cases.push({ title, checkpoint: (await openCase(title)).checkpoint, configs: configOf(title) });
  for (const title of OF_GPTQ.split(" ")) {
    const { found, config } = await fixtureFound(title);
    const configs = { "config.json": { quantization_config: config } };
    cases.push({ title, checkpoint: found.checkpoint, configs });
  }
  for (const group of ["ct", "fp8", "modelopt"])
    for (const one of (await casesOf(group)).filter(({ title }) => OF_CT.test(title)))
      cases.push({ title: `${group}: ${one.title}`, checkpoint: await caseOf(one), configs: one.configs });
  return cases;
}

/** Whether all ranks have a share. */
function isPossible(options: WorldOptions, tensors: readonly TensorHandle[]): boolean {
  try {
    for (let rank = 0; rank < options.world.tp!; rank++) rankShare({ ...options, rank }, tensors);
    return true;
  } catch (error) {
    assert.ok(error instanceof SafetensorsError && error.code === "INVALID_SLICE", String(error));
    return false;
  }
}

async function haveSameBytes(one: TensorHandle, other: TensorHandle): Promise<boolean> {
  return Buffer.compare(await one.bytes(), await other.bytes()) === 0;
}

/** Each rank's share is the weight again, of which it has its part; all shares are the checkpoint. */
async function checkShares(
  { title, checkpoint, configs }: Case,
  dense: TensorHandle,
  quantized: Quantization,
  options: WorldOptions,
): Promise<void> {
  const { name } = dense;
  const files = [];
  for (let rank = 0; rank < options.world.tp!; rank++) {
    const share = await shareCheckpoint(checkpoint, { ...options, quantized, rank });
    const found = await findQuantized(share, { configs });
    const [expected] = rankShare({ ...options, rank }, [dense]);
    const ours = dequantized(share, found).get(name);
    assert.deepEqual(ours.shape, expected!.handle.shape, `${title}: ${name}`);
    assert.ok(await haveSameBytes(ours, expected!.handle), `${title}: ${name}, rank ${rank}`);
    files.push({ file: `rank ${rank}`, rank, checkpoint: share });
  }
  const merged = (await mergeRanks(files)).checkpoint;
  for (const tensor of checkpoint)
    assert.ok(await haveSameBytes(merged.get(tensor.name), tensor), `${title}: ${tensor.name}, merged`);
}

/** Cuts outputs or inputs of one weight. */
function planOf({ name, transposed = false }: QuantizedWeight, along: "out" | "in"): ParallelPlan {
  return new ParallelPlan({ [genericName(name)]: { along, kind: "plain", transposed } });
}

const cases = await allCases();
const withTitle = (title: string): Case => cases.find((one) => one.title.startsWith(title))!;

describe("quantised weights of each scheme among ranks", () => {
  it("are weights again in each share, wherever the sizes of the world allow it", async () => {
    for (const one of cases) {
      const { checkpoint, configs, title } = one;
      const quantized = await findQuantized(checkpoint, { configs });
      const dense = dequantized(checkpoint, quantized);
      const tensors = [...checkpoint];
      const layouts = new Set<string>();
      let divided = 0;
      for (const weight of quantized.weights.values()) {
        const layout = JSON.stringify([weight.scheme, weight.bits, weight.notes]);
        if (layouts.has(layout)) continue;
        layouts.add(layout);
        for (const along of ["out", "in"] as const) {
          const options = { plan: planOf(weight, along), uneven: "strict" } as const;
          const own = tensors.filter((tensor) => quantized.weightOf.get(tensor.name) === weight);
          const verdicts = legalWorldSizes({ ...options, quantized, upTo: 5 }, own);
          const legal = verdicts.filter(({ obstacles }) => obstacles.length === 0).map(({ tp }) => tp);
          for (const { tp } of verdicts)
            assert.equal(
              isPossible({ ...options, quantized, world: { tp } }, own),
              legal.includes(tp),
              title,
            );
          const [, tp] = legal;
          if (tp === undefined) continue;
          divided++;
          const ofWeight = { ...one, checkpoint: checkpointOf(own, checkpoint.metadata) };
          await checkShares(ofWeight, dense.get(weight.name), quantized, { ...options, world: { tp } });
        }
      }
      // Words and blocks of these are larger than half of the fixture.
      const isSmall = /ragged|float-quantized/.test(title);
      assert.ok(divided > 0 || isSmall, `${title}: nothing was divided`);
    }
  });

  it("are cut as the plan of gpt-oss says: whole blocks, gate and up columns together", async () => {
    const { checkpoint, configs } = withTitle("gpt-oss");
    const quantized = await findQuantized(checkpoint, { configs });
    const sizes = { model_type: "gpt_oss", num_attention_heads: 2, num_key_value_heads: 2 };
    const config = { ...sizes, quantization_config: { quant_method: "mxfp4" } };
    const plan = planFor(config);
    const style = (last: string) => plan.styleOf(`model.layers.0.mlp.experts.${last}`);
    const expected = { along: "out", transposed: true, kind: "units", unit: 64 };
    assert.deepEqual(style("gate_up_proj"), expected);
    assert.deepEqual(style("down_proj"), { ...expected, along: "in", unit: 32 });
    assert.deepEqual(planFor(sizes).styleOf("layers.0.mlp.experts.down_proj"), {
      ...expected,
      along: "in",
      unit: 1,
    });
    const down = [...checkpoint].filter(({ name }) => name.includes("layers.0.mlp.experts.down"));
    const shapes = [0, 1].map((rank) =>
      rankShare({ plan, quantized, world: { tp: 2 }, rank }, down).map(({ handle }) => `${handle.shape}`),
    );
    // A single block of 32 inputs is not cut apart.
    assert.deepEqual(new Set(shapes[0]), new Set(["3,8,1,16", "3,8,1"]));
    assert.deepEqual(new Set(shapes[1]), new Set(["3,8,0,16", "3,8,0"]));
  });

  it("of torchao are not cut within the blocks that the metadata state", async () => {
    const { checkpoint, configs } = withTitle("torchao");
    const quantized = await findQuantized(checkpoint, { configs });
    const refused = (name: string, along: "out" | "in", message: RegExp): void => {
      const weight = quantized.weights.get(name)!;
      const options = { plan: planOf(weight, along), quantized, world: { tp: 2 }, rank: 0 };
      assert.throws(() => rankShare(options, checkpoint), raises("INVALID_SLICE", message));
    };
    refused("model.int8.weight", "in", /32 of axis 1 is not at a multiple of 64, which the metadata state/);
    refused("model.int8_tensor.weight", "out", /8 of axis 0 is not at a multiple of 16/);
    refused("model.int4.weight", "out", /8 of axis 0 is not at a multiple of 16/);
  });

  it("are not taken for the dense tensors of the same names", async () => {
    const { checkpoint, configs } = withTitle("mlx-affine");
    const quantized = await findQuantized(checkpoint, { configs });
    const [weight] = quantized.weights.values();
    const options = { plan: planOf(weight!, "out"), quantized, world: { tp: 2 }, rank: 0 };
    assert.throws(
      () => rankShare(options, dequantized(checkpoint, quantized)),
      raises(
        "INVALID_SLICE",
        /is not the part of a quantised weight .* divided without the option "quantized"/,
      ),
    );
  });
});
