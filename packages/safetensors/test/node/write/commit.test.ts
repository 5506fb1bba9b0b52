import assert from "node:assert/strict";
import { cpSync, linkSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, it, mock } from "node:test";
import { recoverCheckpoint } from "../../../src/node/write/commit-recover.ts";
import { temporaryFolder } from "../../support.ts";
import { bury, flushNothing, killedAt } from "./crashing-disk.ts";
import { listed, READERS, writeGeneration } from "./generations.ts";

const root = temporaryFolder();
let folders = 0;
flushNothing();

interface Replacement {
  /** Numbers of files: before, written when the process is killed, and by the save after that. */
  readonly counts: readonly [old: number, next: number, last: number];
  readonly stem?: string;
  /** The old files have no index. */
  readonly bare?: boolean;
  /** Every so many steps are looked at; three unless said otherwise. All are by interop/crash.mjs. */
  readonly stride?: number;
}

const REPLACEMENTS: readonly Replacement[] = [
  { counts: [1, 1, 1] },
  { counts: [2, 2, 3], stride: 1 },
  { counts: [2, 3, 1] },
  { counts: [1, 3, 2] },
  { counts: [3, 1, 1], stride: 1 },
  { counts: [2, 2, 2], bare: true },
  { counts: [2, 1, 2], stem: "odd", bare: true },
];

function expectedFiles(count: number, stem: string): string[] {
  if (count === 1) return [`${stem}.safetensors`];
  const files = Array.from({ length: count }, (_, at) => `${stem}-0000${at + 1}-of-0000${count}.safetensors`);
  return [...files, `${stem}.safetensors.index.json`];
}

describe("a checkpoint that is replaced", () => {
  for (const { counts, stem = "model", bare = false, stride = 3 } of REPLACEMENTS) {
    const [old, next, last] = counts;
    const title = `${old} to ${next} files${bare ? ", the old ones without an index" : ""}, named ${stem}`;
    it(`is the old or the new one, whole, wherever the process is killed: ${title}`, async () => {
      const before = join(root, String(folders++));
      await writeGeneration(before, 1, old, { stem });
      if (bare) rmSync(join(before, `${stem}.safetensors.index.json`));
      const seen = new Set<number>();
      for (let step = 0, goesOn = true; goesOn; step += stride) {
        const folder = join(root, String(folders++));
        cpSync(before, folder, { recursive: true });
        const filesOf = (count: number): string[] =>
          expectedFiles(count, stem).map((name) => join(folder, name));
        const retire = filesOf(old);
        goesOn = await killedAt(step, () => writeGeneration(folder, 2, next, { stem, retire }));
        const state = `killed at ${step}: ${listed(folder)}`;
        let current = 0;
        let newest = 0;
        for (const [reader, read] of Object.entries(READERS)) {
          const generation = await read(folder, stem).catch((error: Error) =>
            assert.fail(`${reader}, ${state}: ${error}`),
          );
          assert.ok(generation === 1 || generation === 2, `${reader} sees ${generation}, ${state}`);
          seen.add(generation);
          if (reader === "ours") current = generation;
          newest = Math.max(newest, generation);
          if (!goesOn) assert.equal(generation, 2, state);
        }
        bury(folder);
        // What one reader has seen, all see after a recovery: nothing is taken back.
        const recovered = join(root, String(folders++));
        mkdirSync(recovered);
        // Links keep the times to the nanosecond, and no file is changed in place.
        for (const name of listed(folder)) linkSync(join(folder, name), join(recovered, name));
        await recoverCheckpoint(
          [join(recovered, `${stem}.safetensors`)],
          [join(recovered, `${stem}.safetensors.index.json`)],
        );
        for (const read of Object.values(READERS)) assert.equal(await read(recovered, stem), newest, state);
        // What else is there, nobody tells it.
        await writeGeneration(folder, 3, last, { stem, retire: filesOf(current === 1 ? old : next) });
        assert.deepEqual(listed(folder), expectedFiles(last, stem).sort(), state);
        for (const read of Object.values(READERS)) assert.equal(await read(folder, stem), 3, state);
      }
      assert.deepEqual([...seen].sort(), [1, 2]);
    });
  }

  it("is ended or undone by another machine: what it is sure of at once, the rest a day later", async () => {
    const before = join(root, String(folders++));
    await writeGeneration(before, 1, 2);
    let sure = 0;
    for (let step = 0, goesOn = true; goesOn; step += 2) {
      const folder = join(root, String(folders++));
      cpSync(before, folder, { recursive: true });
      goesOn = await killedAt(step, () => writeGeneration(folder, 2, 2));
      bury(folder, "00000000");
      await writeGeneration(folder, 3, 2);
      const state = `killed at ${step}: ${listed(folder)}`;
      for (const read of Object.values(READERS)) assert.equal(await read(folder, "model"), 3, state);
      if (listed(folder).join() === expectedFiles(2, "model").join()) sure++;
      const tomorrow = Date.now() + 25 * 60 * 60 * 1000;
      const clock = mock.method(Date, "now", () => tomorrow);
      await writeGeneration(folder, 4, 2);
      clock.mock.restore();
      assert.deepEqual(listed(folder), expectedFiles(2, "model"), state);
      assert.equal(await READERS.ours(folder, "model"), 4);
    }
    assert.ok(sure > 5, `${sure}`);
  });
});
