import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { DTYPES, type Dtype, elementCount } from "../../src/dtype/dtype.ts";
import { cutTensor } from "../../src/parallel/cut-tensor.ts";
import type { WorldOptions } from "../../src/parallel/division.ts";
import type { RankFile } from "../../src/parallel/merge-files.ts";
import { mergeRanks } from "../../src/parallel/merge-ranks.ts";
import { DEFAULT_ORDER } from "../../src/parallel/mesh.ts";
import { ParallelPlan } from "../../src/parallel/plan.ts";
import { worldTable } from "../../src/parallel/share.ts";
import { shareCheckpoint } from "../../src/parallel/share-checkpoint.ts";
import { fingerprintOf, groupNotes, SHARE_NOTE, writeNote } from "../../src/parallel/share-note.ts";
import { type Style, shardTensor } from "../../src/parallel/style.ts";
import { STYLE_NAMES } from "../../src/parallel/style-names.ts";
import { type Cut, WHOLE } from "../../src/view/cut.ts";
import { asFile, CONFIG, checkpointOf, model } from "./ranks.ts";
import { tensorOf, viewOf } from "./tensors.ts";

const size = fc.integer({ min: 1, max: 5 });
const dtypes = fc.constantFrom<Dtype>("F4", "F6_E2M3", "BOOL", "F8_E4M3", "BF16", "F32", "I64");

/** A style that cuts, or leaves whole, any tensor whose sizes have two blocks and divide by the ranks. */
const styles: fc.Arbitrary<Style> = fc.oneof(
  fc.constantFrom(...(STYLE_NAMES.keys() as Iterable<Style>)),
  fc.record({
    along: fc.constantFrom("out" as const, "in" as const),
    kind: fc.constant("blocks" as const),
    blocks: fc.constant(2),
  }),
  fc.record({ along: fc.constant("out" as const), kind: fc.constant("vocabulary" as const) }),
);

/** Tensors with a cut for each rank. */
const cases = fc
  .record({
    world: fc.integer({ min: 1, max: 6 }),
    tensors: fc.array(
      fc.record({ style: styles, dtype: dtypes, shape: fc.array(size, { minLength: 2, maxLength: 3 }) }),
      { minLength: 1, maxLength: 6 },
    ),
  })
  .map(({ world, tensors }) => ({
    world,
    tensors: tensors.map(({ style, dtype, shape }, index) => {
      const fitting = shape.map((size) => 2 * size).with(0, 2 * world * shape[0]!);
      const whole = tensorOf(`t.${index}.weight`, fitting, dtype, index + 1);
      const cuts = Array.from({ length: world }, (_, rank) =>
        shardTensor(whole.name, fitting, style, { rank, world }),
      );
      return { whole, cuts };
    }),
  }));

/** The files of ranks that have these cuts. */
async function filesWith(
  world: number,
  tensors: readonly { readonly whole: TensorHandle; readonly cuts: readonly Cut[] }[],
): Promise<RankFile[]> {
  return Promise.all(
    Array.from({ length: world }, async (_, rank) => {
      const cuts = groupNotes(
        new Map(
          tensors.map(({ whole, cuts }) => {
            const cut = cuts[rank]!;
            return [whole.name, cut.length > 0 ? { shape: whole.shape, cut } : undefined];
          }),
        ),
      );
      const note = writeNote({
        rank,
        world: { tp: world, pp: 1, ep: 1, dp: 1 },
        order: DEFAULT_ORDER,
        whole: fingerprintOf(tensors.map(({ whole }) => whole)),
        cuts,
      });
      const parts = await Promise.all(
        tensors.map(async ({ whole, cuts }) => {
          const part = cutTensor(whole, cuts[rank]!);
          return new TensorHandle(whole.name, viewOf(part.dtype, part.shape, (await part.bytes()).slice()));
        }),
      );
      return { file: `${rank}`, checkpoint: checkpointOf(parts, new Map([[SHARE_NOTE, note]])) };
    }),
  );
}

describe("what all ranks have", () => {
  it("is the checkpoint, for every style, dtype and number of ranks; of what is replicated there is more", async () => {
    const property = fc.asyncProperty(cases, async ({ world, tensors }) => {
      const files = await filesWith(world, tensors);
      const { checkpoint, report } = await mergeRanks(files);
      for (const { whole } of tensors) {
        const merged = checkpoint.get(whole.name);
        assert.deepEqual([merged.dtype, merged.shape], [whole.dtype, whole.shape]);
        assert.deepEqual(await merged.bytes(), await whole.bytes());
      }
      // These styles either cut a tensor into parts that do not overlap, or leave it whole in every rank.
      const bitsOf = ({ shape, dtype }: TensorHandle): number => elementCount(shape) * DTYPES[dtype].bits;
      const bits = files
        .flatMap(({ checkpoint }) => [...checkpoint])
        .reduce((sum, one) => sum + bitsOf(one), 0);
      const isWhole = (cuts: readonly Cut[]): boolean => cuts[0] === WHOLE || cuts[0]!.length === 0;
      const expected = tensors.reduce(
        (sum, { whole, cuts }) => sum + bitsOf(whole) * (isWhole(cuts) ? world : 1),
        0,
      );
      assert.equal(bits, expected);
      assert.equal(report.tensors.cut, tensors.filter(({ cuts }) => !isWhole(cuts)).length);
    });
    await fc.assert(property, { seed: 42, numRuns: 40 });
  });

  it("is found different if a byte of what several ranks have is", async () => {
    const property = fc.asyncProperty(
      fc.integer({ min: 2, max: 4 }),
      fc.nat(),
      fc.nat(),
      async (world, at, victim) => {
        const whole = tensorOf("a.norm.weight", [7, 3], "BF16", 3);
        const files = await filesWith(world, [{ whole, cuts: new Array<Cut>(world).fill(WHOLE) }]);
        const bytes = await files[victim % world]!.checkpoint.get("a.norm.weight").bytes();
        bytes[at % bytes.length]! ^= 1 << (at % 8);
        await assert.rejects(mergeRanks(files), /INDEX_MISMATCH.*not the same/);
      },
    );
    await fc.assert(property, { seed: 42, numRuns: 25 });
  });

  it("is a model, for every world that it can be divided into, as they say and by the plan", async () => {
    const property = fc.asyncProperty(
      fc.record({
        tp: fc.constantFrom(1, 2, 4, 8),
        pp: fc.integer({ min: 1, max: 4 }),
        ep: fc.integer({ min: 1, max: 5 }),
        dp: fc.integer({ min: 1, max: 2 }),
      }),
      fc.constantFrom("apart" as const, "stacked" as const),
      fc.constantFrom("linear" as const, "round_robin" as const),
      fc.shuffledSubarray([...DEFAULT_ORDER], { minLength: 4 }),
      async (world, form, placement, order) => {
        fc.pre(world.tp * world.pp * world.ep * world.dp <= 24);
        const original = checkpointOf([...model(form), tensorOf("model.codes", [6], "F4")]);
        const plan = new ParallelPlan({
          "layers.*.self_attn.o_proj": "rowwise",
          lm_head: "colwise",
          "layers.*.mlp.experts.*.up_proj": "colwise",
        });
        const options: WorldOptions = { config: CONFIG, plan, world, order, experts: { placement } };
        const table = worldTable(options, original);
        const files: RankFile[] = [];
        for (const { rank, bytes, tensors } of table.ranks) {
          const share = await shareCheckpoint(original, { ...options, rank });
          assert.equal(
            [...share].reduce((sum, { byteLength }) => sum + byteLength, 0),
            bytes,
          );
          assert.equal(share.size, tensors);
          files.push({ file: `${rank}`, rank, checkpoint: await asFile(share, share.metadata) });
        }
        for (const division of [undefined, options]) {
          const { checkpoint } = await mergeRanks(files, { division });
          assert.equal(checkpoint.size, original.size);
          for (const tensor of original)
            assert.deepEqual(await checkpoint.get(tensor.name).bytes(), await tensor.bytes(), tensor.name);
        }
      },
    );
    await fc.assert(property, { seed: 42, numRuns: 12 });
  });
});
