import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { SafetensorsError } from "../../src/errors.ts";
import type { WorldOptions } from "../../src/parallel/division.ts";
import { joinShards } from "../../src/parallel/join.ts";
import { legalWorldSizes } from "../../src/parallel/legal-world-sizes.ts";
import { ParallelPlan } from "../../src/parallel/plan.ts";
import { type RankTensor, rankShare } from "../../src/parallel/share.ts";
import { dequantized } from "../../src/quant/dequantize.ts";
import { findQuantized } from "../../src/quant/find.ts";
import type { QuantizedWeight } from "../../src/quant/weight.ts";
import { casesOf, checkpointOf as filesOf } from "../quant/fp8-cases.ts";
import { fixtureFound } from "../quant/gptq-layers.ts";
import { configOf, openCase } from "../quant/others.ts";
import { checkpointOf } from "./ranks.ts";

/** A checkpoint that an original wrote, with its configuration. */
interface Case {
  readonly title: string;
  readonly checkpoint: Checkpoint;
  readonly configs: Readonly<Record<string, unknown>>;
}

const OTHERS =
  "gpt-oss gpt-oss-original bitsandbytes-4bit bitsandbytes-int8 mlx-affine-3-float32 mlx-mxfp4-4-float32 mlx-mxfp8-8-float32 mlx-nvfp4-4-float32 hqq-float32 quanto-float32 torchao-bfloat16 bitnet comfyui";

async function allCases(): Promise<Case[]> {
  const cases: Case[] = [];
  for (const title of OTHERS.split(" "))
    cases.push({ title, checkpoint: (await openCase(title)).checkpoint, configs: configOf(title) });
  for (const group of ["ct", "fp8", "modelopt"])
    for (const one of await casesOf(group))
      cases.push({ title: `${group}: ${one.title}`, checkpoint: await filesOf(one), configs: one.configs });
  for (const title of ["gptq/gptq", "gptq/gptq_v2", "gptq/act-order", "awq/gemm", "awq/gemv-64", "awq/gemv_fast-64"]) {
    const { found, config } = await fixtureFound(title);
    const configs = { "config.json": { quantization_config: config } };
    cases.push({ title, checkpoint: found.checkpoint, configs });
  }
  return cases;
}

/** One weight along one side of its layer, for so many ranks; nothing if it cannot be. */
function sharesOf(options: WorldOptions, tensors: readonly TensorHandle[]): RankTensor[][] | undefined {
  try {
    return Array.from({ length: options.world.tp! }, (_, rank) => rankShare({ ...options, rank }, tensors));
  } catch (error) {
    assert.ok(error instanceof SafetensorsError && error.code === "INVALID_SLICE", String(error));
    return undefined;
  }
}

async function checkShares(
  { title, checkpoint, configs }: Case,
  weight: QuantizedWeight,
  shares: readonly RankTensor[][],
  options: WorldOptions,
): Promise<void> {
  const whole = await findQuantized(checkpoint, { configs });
  const dense = dequantized(checkpoint, whole);
  for (const [rank, share] of shares.entries()) {
    const piece = checkpointOf(share.map(({ handle }) => handle), checkpoint.metadata);
    const found = await findQuantized(piece, { configs });
    assert.deepEqual(found.problems.filter(({name}) => name.startsWith(weight.name)), [], title);
    const { quantized: _, ...ofDense } = options;
    const [expected] = rankShare({ ...ofDense, rank }, [dense.get(weight.name)]);
    const ours = dequantized(piece, found).get(weight.name);
    assert.deepEqual(ours.shape, expected!.handle.shape, `${title}: ${weight.name}`);
    assert.deepEqual(await ours.bytes(), await expected!.handle.bytes(), `${title}: ${weight.name}`);
  }
  for (const tensor of checkpoint) {
    const shards = shares.flatMap((share) => share.filter(({ name, restated }) => name === tensor.name && !restated));
    if (shards.length === 0) continue;
    const joined = joinShards(
      tensor.shape,
      shards.map(({ handle: { view }, cut }) => ({ view, cut })),
    );
    assert.deepEqual(await new TensorHandle("joined", joined).bytes(), await tensor.bytes());
  }
}

describe("quantised weights of each scheme among ranks", async () => {
  for (const one of await allCases()) {
    it(one.title, async () => {
      const { checkpoint, configs } = one;
      const quantized = await findQuantized(checkpoint, { configs });
      const tensors = [...checkpoint];
      const log: string[] = [];
      for (const weight of quantized.weights.values()) {
        for (const along of ["out", "in"] as const) {
          const style = { along, kind: "plain", transposed: weight.transposed ?? false } as const;
          const plan = new ParallelPlan({ [weight.name.replace(/\.\d+(\.|$)/g, ".*$1")]: style });
          const verdicts = legalWorldSizes({ plan, quantized, upTo: 8 }, tensors);
          for (const { tp, obstacles } of verdicts) {
            const options = { plan, quantized, world: { tp }, uneven: "strict" } as const;
            const shares = sharesOf(options, tensors);
            assert.equal(obstacles.length === 0, shares !== undefined);
            if (shares && tp > 1) {
              log.push(`${weight.name} ${along} ${tp}`);
              await checkShares(one, weight, shares, options);
            }
          }
        }
      }
      if (process.env.SHOW) console.log(one.title, log.length, "of", quantized.weights.size, log.join("; "));
    });
  }
});
