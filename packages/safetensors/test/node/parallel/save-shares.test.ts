import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { Checkpoint } from "../../../src/checkpoint/checkpoint.ts";
import { folderStore } from "../../../src/node/folder-store.ts";
import { saveShares } from "../../../src/node/parallel/save-shares.ts";
import { saveCheckpoint } from "../../../src/node/write/save-checkpoint.ts";
import type { WorldOptions } from "../../../src/parallel/division.ts";
import { openRankFiles, rankNumbers } from "../../../src/parallel/merge-open.ts";
import { mergeRanks } from "../../../src/parallel/merge-ranks.ts";
import { shareCheckpoint } from "../../../src/parallel/share-checkpoint.ts";
import { CONFIG, checkpointOf, model } from "../../parallel/ranks.ts";
import { raises, temporaryFolder } from "../../support.ts";

const whole = checkpointOf(model());
const tp = (ranks: number): WorldOptions => ({ config: CONFIG, world: { tp: ranks } });

async function sharesOf(options: WorldOptions, ranks: readonly number[]): Promise<Map<number, Checkpoint>> {
  const shares = new Map<number, Checkpoint>();
  for (const rank of ranks) shares.set(rank, await shareCheckpoint(whole, { ...options, rank }));
  return shares;
}

const namesOf = (ranks: readonly number[], part = 0): string[] =>
  ranks.map((rank) => `model-rank-${rank}-part-${part}.safetensors`);

async function bytesOf(folder: string): Promise<Map<string, Uint8Array>> {
  const { checkpoint } = await mergeRanks(await openRankFiles(folderStore(folder)));
  const bytes = new Map<string, Uint8Array>();
  for (const tensor of checkpoint) bytes.set(tensor.name, await tensor.bytes());
  await checkpoint.close();
  return bytes;
}

describe("shares in a folder", () => {
  it("are files by rank, the same each time, and the checkpoint together", async () => {
    const folder = join(temporaryFolder(), "new");
    const shares = await sharesOf(tp(4), [0, 1, 2, 3]);
    const saved = await saveShares(folder, shares, { verify: true });
    assert.deepEqual(readdirSync(folder).sort(), namesOf([0, 1, 2, 3]));
    assert.deepEqual(
      saved.files.map(({ tensors }) => tensors),
      [60, 60, 60, 60],
    );
    const found = await bytesOf(folder);
    for (const tensor of whole) assert.deepEqual(found.get(tensor.name), await tensor.bytes(), tensor.name);
    const before = readFileSync(join(folder, namesOf([2])[0]!));
    await saveShares(folder, await sharesOf(tp(4), [2]));
    assert.deepEqual(readFileSync(join(folder, namesOf([2])[0]!)), before);
    const one = join(folder, "one.safetensors");
    await saveCheckpoint(one, shares.get(2)!);
    assert.deepEqual(readFileSync(one), before);
  });

  it("have parts, if these are to be small; what was there before of the same ranks goes", async () => {
    const folder = temporaryFolder();
    await saveShares(folder, await sharesOf(tp(4), [0, 1, 2, 3]), { maxShardSize: 2000 });
    assert.ok(readdirSync(folder).includes("model-rank-3-part-1.safetensors"));
    assert.equal((await bytesOf(folder)).size, whole.size);
    writeFileSync(join(folder, "model-rank-9-part-0.safetensors.txt"), "");
    const dry = await saveShares(folder, await sharesOf(tp(4), [3]), { dryRun: true });
    assert.ok(dry.removed.length > 0 && dry.removed.every((path) => /rank-3-part-[1-9]/.test(path)));
    assert.ok(readdirSync(folder).includes("model-rank-3-part-1.safetensors"));
    await saveShares(folder, await sharesOf(tp(4), [3]));
    assert.ok(!readdirSync(folder).includes("model-rank-3-part-1.safetensors"));
    assert.equal((await bytesOf(folder)).size, whole.size);
    await saveShares(folder, await sharesOf(tp(2), [0, 1]), { areAll: true });
    assert.deepEqual(readdirSync(folder).sort(), [...namesOf([0, 1]), "model-rank-9-part-0.safetensors.txt"]);
    assert.equal((await bytesOf(folder)).size, whole.size);
  });

  it("never take the place of their input", async () => {
    const folder = temporaryFolder();
    await saveShares(folder, await sharesOf(tp(2), [0, 1]));
    const keep = [join(folder, namesOf([1])[0]!)];
    await assert.rejects(
      saveShares(folder, await sharesOf(tp(2), [1]), { keep }),
      raises("IO", /is the input itself/),
    );
    await assert.rejects(
      saveShares(folder, await sharesOf(tp(1), [0]), { keep, areAll: true }),
      raises("IO", /is the input itself/),
    );
    assert.equal((await bytesOf(folder)).size, whole.size);
  });

  it("that are written in part are missed, and the folder is as it was after an error", async () => {
    const folder = temporaryFolder();
    const shares = await sharesOf(tp(4), [0, 1, 2, 3]);
    const stopper = new AbortController();
    const onProgress = (_done: number, _total: number, file: string): void => {
      if (file.includes("rank-2")) stopper.abort(new Error("enough"));
    };
    await assert.rejects(saveShares(folder, shares, { signal: stopper.signal, onProgress }), /enough/);
    assert.deepEqual(readdirSync(folder), []);
    await saveShares(folder, new Map([...shares].slice(0, 2)));
    await assert.rejects(
      bytesOf(folder),
      raises("INDEX_MISMATCH", /2 ranks are missing: 2, 3|rank 2, 3 is missing/),
    );
  });

  it("are resumed where they were stopped", async () => {
    const folder = temporaryFolder();
    const shares = await sharesOf(tp(4), [0, 1, 2, 3]);
    const stopper = new AbortController();
    const onProgress = (_done: number, _total: number, file: string): void => {
      if (file.includes("rank-2")) stopper.abort(new Error("enough"));
    };
    const resume = "x";
    await assert.rejects(
      saveShares(folder, shares, { signal: stopper.signal, onProgress, resume }),
      /enough/,
    );
    const { reused } = await saveShares(folder, shares, { resume });
    assert.deepEqual(reused.map((path) => path.slice(folder.length + 1)).sort(), namesOf([0, 1]));
    assert.deepEqual(readdirSync(folder).sort(), namesOf([0, 1, 2, 3]));
  });
});

describe("files of ranks in a folder", () => {
  it("are those with a rank in their names, or a checkpoint of one rank", async () => {
    const folder = temporaryFolder();
    const [a, b] = [join(folder, "model0-mp2.safetensors"), join(folder, "model1-mp2.safetensors")];
    for (const path of [a, b]) await saveCheckpoint(path, whole);
    const found = await openRankFiles(folderStore(folder));
    assert.deepEqual(
      found.map(({ file, rank }) => [file, rank]),
      [
        ["model0-mp2.safetensors", 0],
        ["model1-mp2.safetensors", 1],
      ],
    );
    const other = join(temporaryFolder(), "one");
    await saveCheckpoint(other, whole, { maxShardSize: 4000 });
    const [one, ...more] = await openRankFiles(folderStore(other));
    assert.deepEqual([one!.rank, one!.checkpoint.size, more.length], [undefined, whole.size, 0]);
    for (const { checkpoint } of [...found, one!]) await checkpoint.close();
  });

  it("have numbers in the names of their folders", () => {
    assert.deepEqual(rankNumbers(["tp_rank_00", "tp_rank_01"]), [0, 1]);
    assert.deepEqual(
      rankNumbers([
        "rank-10.safetensors",
        ...Array.from({ length: 10 }, (_, i) => `rank-${i}.safetensors`),
      ])![0],
      10,
    );
    assert.deepEqual(rankNumbers(["model2-mp2.safetensors", "model1-mp2.safetensors"]), [1, 0]);
    assert.deepEqual(rankNumbers(["r-00001-of-00002", "r-00002-of-00002"]), [0, 1]);
    for (const names of [["a", "b"], ["a1", "b1"], ["a0", "a2"], ["a2", "a3"], []])
      assert.equal(rankNumbers(names), undefined);
  });
});
