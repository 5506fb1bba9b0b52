import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { TensorHandle } from "../../src/checkpoint/tensor.ts";
import type { WorldOptions } from "../../src/parallel/division.ts";
import type { RankFile } from "../../src/parallel/merge-files.ts";
import { type MergeRanksOptions, mergeRanks } from "../../src/parallel/merge-ranks.ts";
import { ParallelPlan } from "../../src/parallel/plan.ts";
import { planFor } from "../../src/parallel/plan-for.ts";
import { shareCheckpoint } from "../../src/parallel/share-checkpoint.ts";
import { SHARE_NOTE } from "../../src/parallel/share-note.ts";
import { raises } from "../support.ts";
import { asFile, CONFIG, checkpointOf, filesOf, model } from "./ranks.ts";
import { tensorOf } from "./tensors.ts";

const tensors = model();
const whole = checkpointOf(tensors, new Map([["format", "pt"]]));

async function assertSame(merged: Checkpoint, original: Checkpoint): Promise<void> {
  assert.deepEqual([...merged.keys()].sort(), [...original.keys()].sort());
  for (const tensor of original) {
    const other = merged.get(tensor.name);
    assert.deepEqual([other.dtype, other.shape], [tensor.dtype, tensor.shape], tensor.name);
    assert.deepEqual(await other.bytes(), await tensor.bytes(), tensor.name);
  }
}

/** The same files, of which one has other metadata or tensors. */
async function changed(
  files: readonly RankFile[],
  rank: number,
  change: (tensors: TensorHandle[], metadata: Map<string, string>) => TensorHandle[],
): Promise<RankFile[]> {
  const { checkpoint } = files[rank]!;
  const metadata = new Map(checkpoint.metadata);
  const list = change([...checkpoint], metadata);
  return files.with(rank, { ...files[rank]!, checkpoint: await asFile(list, metadata) }) as RankFile[];
}

const worlds: readonly [WorldOptions["world"], number, Partial<WorldOptions>?][] = [
  [{ tp: 2 }, 2],
  [{ tp: 8 }, 8],
  [{ tp: 3 }, 3, { plan: new ParallelPlan({ "layers.*.self_attn.o_proj": "rowwise", lm_head: "colwise" }) }],
  [{ pp: 2 }, 2],
  [{ ep: 4 }, 4],
  [{ ep: 3 }, 3, { experts: { placement: "round_robin" } }],
  [{ tp: 2, pp: 3, dp: 2 }, 12],
  [{ tp: 4, dp: 1 }, 4, { experts: { over: ["tp"] } }],
];

describe("the files of all ranks", () => {
  for (const form of ["apart", "stacked"] as const)
    for (const [world, size, more] of worlds)
      it(`are the checkpoint, as they say and by the plan: ${JSON.stringify(world)}, experts ${form}`, async () => {
        const original = checkpointOf(model(form));
        const options: WorldOptions = { config: CONFIG, world, ...more };
        const files = await filesOf(original, options, size);
        const { checkpoint, report } = await mergeRanks(files);
        await assertSame(checkpoint, original);
        assert.deepEqual([...checkpoint.metadata], [["format", "pt"]]);
        const { cut, replicated, whole } = report.tensors;
        assert.equal(cut + replicated + whole, original.size);
        assert.deepEqual(
          report.ranks,
          Array.from({ length: size }, (_, rank) => rank),
        );
        const planned = await mergeRanks(files.toReversed(), { division: options });
        await assertSame(planned.checkpoint, original);
      });

  it("may have a padded vocabulary, whose size the configuration says", async () => {
    const plan = planFor(CONFIG, { vocabularyMultiple: 8 });
    const options: WorldOptions = { config: CONFIG, plan, world: { tp: 4 } };
    const files = await filesOf(whole, options, 4);
    assert.deepEqual(files[3]!.checkpoint.get("lm_head.weight").shape, [4, 8]);
    for (const division of [undefined, options])
      await assertSame((await mergeRanks(files, { division })).checkpoint, whole);
  });

  it("may lie in several files, and ranks that have the same be missing", async () => {
    const files = await filesOf(whole, { config: CONFIG, world: { tp: 2, dp: 2 } }, 4);
    const [first, second] = files;
    const half = (isFirst: boolean): Promise<Checkpoint> =>
      asFile(
        [...first!.checkpoint].filter((_, place) => (place % 2 === 0) === isFirst),
        first!.checkpoint.metadata,
      );
    const parts = [
      { file: "a", checkpoint: await half(true) },
      second!,
      { file: "b", checkpoint: await half(false) },
    ];
    await assertSame((await mergeRanks(parts)).checkpoint, whole);
  });

  it("can be divided anew for another world without a file in between", async () => {
    const files = await filesOf(whole, { config: CONFIG, world: { tp: 4 } }, 4);
    const { checkpoint } = await mergeRanks(files);
    const anew = await filesOf(checkpoint, { config: CONFIG, world: { tp: 2, pp: 2 } }, 4);
    const direct = await filesOf(whole, { config: CONFIG, world: { tp: 2, pp: 2 } }, 4);
    for (const [rank, { checkpoint }] of anew.entries()) {
      assert.deepEqual([...checkpoint.metadata], [...direct[rank]!.checkpoint.metadata]);
      await assertSame(checkpoint, direct[rank]!.checkpoint);
    }
  });
});

describe("tensors with the same data", () => {
  it("are stored once in each rank and once in the whole, which says so", async () => {
    const embedding = tensors[0]!;
    const tied = [...tensors.slice(0, -1), new TensorHandle("lm_head.weight", embedding.view)];
    for (const world of [{ tp: 2 }, { pp: 2 }]) {
      const options: WorldOptions = { config: { ...CONFIG, tie_word_embeddings: true }, world };
      const files = await Promise.all(
        [0, 1].map(async (rank) => {
          const share = await shareCheckpoint(checkpointOf(tied), { ...options, rank });
          const own = [...share].filter(({ name }) => name !== "lm_head.weight");
          const hasBoth = own.some(({ name }) => name === embedding.name) && share.has("lm_head.weight");
          const tie = hasBoth ? [["lm_head.weight", embedding.name] as const] : [];
          return {
            file: `rank-${rank}`,
            checkpoint: await asFile(own, new Map([...share.metadata, ...tie])),
          };
        }),
      );
      const { checkpoint } = await mergeRanks(files);
      assert.equal(checkpoint.metadata.get("lm_head.weight"), embedding.name);
      await assertSame(checkpoint, checkpointOf(tied.slice(0, -1)));
    }
  });
});

describe("files of ranks are refused", () => {
  const options: WorldOptions = { config: CONFIG, world: { tp: 4 } };
  const refuses = async (
    files: readonly RankFile[],
    code: Parameters<typeof raises>[0],
    message: RegExp,
    more: MergeRanksOptions = {},
  ): Promise<void> => assert.rejects(mergeRanks(files, more), raises(code, message));

  it("if one is missing, and then it is said which", async () => {
    const files = await filesOf(whole, options, 4);
    await refuses(files.toSpliced(2, 1), "INDEX_MISMATCH", /of the 4 ranks \(tp 4\), rank 2 is missing/);
    await refuses(files.slice(0, 3), "INDEX_MISMATCH", /rank 3 is missing/, { division: options });
    await refuses([], "NOT_FOUND", /no files/);
  });

  it("if they are of different worlds or checkpoints", async () => {
    const files = await filesOf(whole, options, 4);
    const others = await filesOf(whole, { config: CONFIG, world: { tp: 2 } }, 2);
    await refuses(
      [...files.slice(0, 3), others[1]!],
      "INDEX_MISMATCH",
      /"rank-0" is of a world of tp 4 in the order pp, dp, ep, tp, "rank-1" of a world of tp 2/,
    );
    const larger = await filesOf(checkpointOf([...tensors, tensorOf("more", [2])]), options, 4);
    await refuses(
      files.with(3, larger[3]!),
      "INDEX_MISMATCH",
      /"rank-0" is of a checkpoint of 60 tensors .* "rank-3" of a checkpoint of 61/,
    );
    const other = model().map(({ name, shape }, seed) => tensorOf(name, shape, "BF16", seed + 100));
    const mixed = files.with(1, (await filesOf(checkpointOf(other), options, 4))[1]!);
    await refuses(
      mixed,
      "INDEX_MISMATCH",
      /"rank-0" is of a checkpoint whose values have the digest .* "rank-1"/,
    );
    // What was not looked at while it was cut shows in what all ranks have.
    const unread = { ...options, sample: false };
    const ofOther = (await filesOf(whole, unread, 4)).with(
      1,
      (await filesOf(checkpointOf(other), unread, 4))[1]!,
    );
    await refuses(ofOther, "INDEX_MISMATCH", /not the same in "rank-0" and "rank-1".*different checkpoints/);
    const { report } = await mergeRanks(ofOther, { trust: true });
    assert.equal(report.comparedBytes, 0);
  });

  it("if heads that ranks share differ", async () => {
    const files = await filesOf(whole, { config: CONFIG, world: { tp: 8 } }, 8);
    const name = "model.layers.1.self_attn.k_proj.weight";
    const wrong = await changed(files, 2, (list) =>
      list.map((one) => (one.name === name ? tensorOf(name, one.shape, "BF16", 99) : one)),
    );
    await refuses(wrong, "INDEX_MISMATCH", /k_proj.*"rank-0" and "rank-2", where both have the same part/);
  });

  it("if a tensor has lost a part, has another dtype or shape, or is in two files of a rank", async () => {
    const files = await filesOf(whole, options, 4);
    const name = "model.layers.0.self_attn.q_proj.weight";
    const without = await changed(files, 1, (list) => list.filter((one) => one.name !== name));
    await refuses(
      without,
      "INDEX_MISMATCH",
      /q_proj.*32 elements of a tensor of shape \[16,8\] are in no shard/,
    );
    const swap = (dtype: "BF16" | "F16", shape: readonly number[]): Promise<RankFile[]> =>
      changed(files, 1, (list) =>
        list.map((one) => (one.name === name ? tensorOf(name, shape, dtype) : one)),
      );
    await refuses(await swap("F16", [4, 8]), "INDEX_MISMATCH", /BF16 \[4,8\] in "rank-0", but F16/);
    await refuses(await swap("BF16", [5, 8]), "INDEX_MISMATCH", /a shard is BF16 \[5,8\], not BF16 \[4,8\]/);
    await refuses(
      [...files, { ...files[1]!, file: "again" }],
      "INDEX_MISMATCH",
      /in both "rank-1" and "again"/,
    );
  });

  it("if a tensor is in none, or in one too much", async () => {
    const files = await filesOf(whole, { config: CONFIG, world: { pp: 3 } }, 3);
    const name = "model.layers.1.mlp.gate.weight";
    const without = await changed(files, 1, (list) => list.filter((one) => one.name !== name));
    await refuses(without, "INDEX_MISMATCH", /59 of 60 tensors/);
    const more = await changed(files, 1, (list) => [...list, tensorOf("more", [2])]);
    await refuses(more, "INDEX_MISMATCH", /61 of 60 tensors/);
  });

  it("if they overlap", async () => {
    const files = await filesOf(whole, options, 4);
    const shifted = await changed(files, 1, (list, metadata) => {
      const note = JSON.parse(metadata.get(SHARE_NOTE)!);
      note.cuts["model.layers.*.self_attn.q_proj.weight"].cut[0].ranges = [[3, 7]];
      metadata.set(SHARE_NOTE, JSON.stringify(note));
      return list;
    });
    await refuses(shifted, "INDEX_MISMATCH", /q_proj.*overlap/);
  });

  it("without a plan, if they do not say what they have", async () => {
    const files = await filesOf(whole, options, 4);
    const silent = await changed(files, 1, (list, metadata) => {
      metadata.delete(SHARE_NOTE);
      return list;
    });
    await refuses(silent, "UNSUPPORTED", /"rank-1" does not say what it has .* a plan is needed/);
    await assertSame((await mergeRanks(silent, { division: options })).checkpoint, whole);
    const nameless = silent.map(({ rank: _, ...rest }) => rest);
    await refuses(nameless, "UNSUPPORTED", /not known which rank "rank-1" is of/, { division: options });
  });

  it("if another plan is given than the one that cut them", async () => {
    const silent = (await filesOf(whole, options, 4)).map(async ({ checkpoint, ...rest }) => {
      return { ...rest, checkpoint: await asFile(checkpoint) };
    });
    const files = await Promise.all(silent);
    const by = (plan: ParallelPlan): MergeRanksOptions => ({ division: { world: { tp: 4 }, plan } });
    await refuses(
      files,
      "INDEX_MISMATCH",
      /embed_tokens.*no tensor is cut into \[4,8\] in "rank-0".*no rule of the plan is for it/,
      by(new ParallelPlan({ lm_head: "colwise" })),
    );
    const wrong = new ParallelPlan({
      ...Object.fromEntries(planFor(CONFIG).rules),
      lm_head: "packed_colwise",
    });
    await refuses(files, "INDEX_MISMATCH", /lm_head.*it has the style "packed_colwise"/, by(wrong));
  });
});

describe("the share of a rank as a checkpoint", () => {
  it("is the same, byte for byte, each time, and says what it has in few words", async () => {
    const options = { config: CONFIG, world: { tp: 2 }, rank: 1 };
    const [one, other] = [await shareCheckpoint(whole, options), await shareCheckpoint(whole, options)];
    assert.equal(one.metadata.get(SHARE_NOTE), other.metadata.get(SHARE_NOTE));
    const note = JSON.parse(one.metadata.get(SHARE_NOTE)!);
    assert.deepEqual(note.cuts["model.layers.*.self_attn.o_proj.weight"], {
      shape: [8, 16],
      cut: [{ axis: 1, ranges: [[8, 16]] }],
    });
    assert.equal(Object.keys(note.cuts).length, 9);
    assert.deepEqual([note.version, note.rank, note.whole.tensors], [1, 1, 60]);
  });

  it("has no digests, which were those of the whole", async () => {
    const digested = checkpointOf(
      tensors,
      new Map([
        ["sha256.data", "x"],
        ["a", "b"],
      ]),
    );
    const share = await shareCheckpoint(digested, { world: { dp: 2 }, rank: 1 });
    assert.deepEqual([...share.metadata.keys()], ["a", SHARE_NOTE]);
  });

  it("counts no tensor that no rank has", async () => {
    const more = checkpointOf([...tensors, tensorOf("model.layers.9.x.weight", [2])]);
    const options: WorldOptions = { config: CONFIG, world: { pp: 2 }, pipeline: { extraLayers: "skip" } };
    const { checkpoint } = await mergeRanks(await filesOf(more, options, 2));
    await assertSame(checkpoint, whole);
  });

  it("has a place for what is whole beside what is cut, though their names are alike", async () => {
    const odd = checkpointOf([
      tensorOf("a.0.w", [4, 2]),
      tensorOf("a.1.w", [4, 2], "BF16", 2),
      tensorOf("a.*.w", [2]),
    ]);
    const plan = new ParallelPlan({ "a.0.w": "colwise" }, { star: "number" });
    const files = await filesOf(odd, { world: { tp: 2 }, plan }, 2);
    await assertSame((await mergeRanks(files)).checkpoint, odd);
  });
});

describe("tensors that state the shape of a quantised weight", () => {
  it("are those of the whole again", async () => {
    // 4 bits of [out 8, in 64] in groups of 32, as compressed-tensors packs them.
    const shape = new BigInt64Array([8n, 64n]);
    const stated = tensorOf("m.up_proj.weight_shape", [2], "I64");
    const bytes = new Uint8Array(shape.buffer);
    (await stated.bytes()).set(bytes);
    const parts = [
      tensorOf("m.up_proj.weight_packed", [8, 8], "I32", 5),
      tensorOf("m.up_proj.weight_scale", [8, 2], "BF16", 6),
      stated,
    ];
    const original = checkpointOf(parts);
    const { findQuantized } = await import("../../src/quant/find.ts");
    const configs = {
      "config.json": {
        quantization_config: {
          quant_method: "compressed-tensors",
          format: "pack-quantized",
          config_groups: {
            group_0: {
              targets: ["Linear"],
              weights: { num_bits: 4, type: "int", symmetric: true, strategy: "group", group_size: 32 },
            },
          },
        },
      },
    };
    const quantized = await findQuantized(original, { configs });
    assert.equal(quantized.weights.size, 1, JSON.stringify(quantized.problems));
    const plan = new ParallelPlan({ "m.up_proj": "colwise" });
    const files = await filesOf(original, { world: { tp: 2 }, plan, quantized }, 2);
    assert.deepEqual(
      await files[0]!.checkpoint.get("m.up_proj.weight_shape").data(),
      new BigInt64Array([4n, 64n]),
    );
    await assertSame((await mergeRanks(files)).checkpoint, original);
  });
});
