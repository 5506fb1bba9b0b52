import assert from "node:assert/strict";
import { cpSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, it } from "node:test";
import { temporaryFolder } from "../../support.ts";
import { bury, flushNothing, killedAt } from "./crashing-disk.ts";
import { listed, READERS, writeGeneration } from "./generations.ts";

const root = temporaryFolder();
let folders = 0;
flushNothing();

const fresh = (): string => join(root, String(folders++));
const hidden = (folder: string): string[] => listed(folder).filter((name) => name.startsWith("."));
const reusedNames = (reused: readonly string[]): string[] => reused.map((path) => basename(path));
const [first, second, third] = [1, 2, 3].map((n) => `model-0000${n}-of-00003.safetensors`) as [
  string,
  string,
  string,
];

/** A folder in which a save of three files was stopped when it began the third. */
async function stopped(resume: string | undefined): Promise<string> {
  const folder = fresh();
  const controller = new AbortController();
  const onProgress = (_done: number, _total: number, file: string): void => {
    if (file === third) controller.abort(new Error("stopped"));
  };
  const { signal } = controller;
  await assert.rejects(writeGeneration(folder, 1, 3, { resume, signal, onProgress }), /stopped/);
  return folder;
}

async function readsAs(folder: string, generation: number): Promise<void> {
  for (const read of Object.values(READERS)) assert.equal(await read(folder, "model"), generation);
}

describe("a save that is interrupted", () => {
  it("leaves nothing, unless it is to go on", async () => {
    assert.ok(!readdirSync(root).includes(basename(await stopped(undefined))));
  });

  it("goes on with the files that it has left complete", async () => {
    const folder = await stopped("input 1");
    assert.equal(hidden(folder).length, 4);
    assert.equal(listed(folder).length, 4);
    const inodes = hidden(folder).map((name) => statSync(join(folder, name)).ino);
    let least = Number.POSITIVE_INFINITY;
    const { reused } = await writeGeneration(folder, 1, 3, {
      resume: "input 1",
      verify: true,
      onProgress: (done) => {
        least = Math.min(least, done);
      },
    });
    assert.deepEqual(reusedNames(reused).sort(), [first, second]);
    assert.equal(least, 64);
    assert.ok(inodes.includes(statSync(join(folder, first)).ino));
    assert.deepEqual(listed(folder), [first, second, third, "model.safetensors.index.json"]);
    await readsAs(folder, 1);
  });

  it("goes on after it was killed, at whatever step", async () => {
    const counts = new Set<number>();
    for (let step = 0, goesOn = true; goesOn; step++) {
      const folder = fresh();
      goesOn = await killedAt(step, () => writeGeneration(folder, 1, 3, { resume: "input 1" }));
      bury(folder);
      const { reused } = await writeGeneration(folder, 1, 3, { resume: "input 1" });
      counts.add(reused.length);
      assert.deepEqual(hidden(folder), []);
      await readsAs(folder, 1);
    }
    // Three: killed when all was complete, but not all in place.
    assert.deepEqual([...counts].sort(), [0, 1, 2, 3]);
  });

  it("leaves what a living process writes to that", async () => {
    const folder = fresh();
    await killedAt(8, () => writeGeneration(folder, 1, 3, { resume: "input 1" }));
    const before = hidden(folder);
    assert.ok(before.length > 2);
    const { reused } = await writeGeneration(folder, 1, 3, { resume: "input 1" });
    assert.deepEqual(reused, []);
    assert.deepEqual(hidden(folder), before);
  });

  it("begins again with another input, with none, and with other tensors, and removes what was left", async () => {
    const folder = await stopped("input 1");
    for (const [count, resume] of [
      [3, "input 2"],
      [3, undefined],
      [2, "input 1"],
    ] as const) {
      const copy = fresh();
      cpSync(folder, copy, { recursive: true });
      const { reused } = await writeGeneration(copy, 2, count, { resume });
      assert.deepEqual(reused, []);
      assert.deepEqual(hidden(copy), []);
      await readsAs(copy, 2);
    }
  });

  it("does not trust a file that is not what was written, nor a record that is none", async () => {
    const folder = await stopped("input 1");
    const parts = hidden(folder).filter((name) => name.endsWith(".tmp"));
    const damages: ((part: string) => void)[] = [
      (part) => {
        const bytes = readFileSync(part);
        bytes[bytes.length - 1]! ^= 1;
        writeFileSync(part, bytes);
      },
      (part) => truncateSync(part, statSync(part).size - 1),
      (part) => writeFileSync(part, Buffer.concat([readFileSync(part), Buffer.of(0)])),
      (part) => writeFileSync(`${part}.json`, "{"),
      (part) => writeFileSync(`${part}.json`, "null"),
      (part) => writeFileSync(`${part}.json`, " ".repeat(2000) + readFileSync(`${part}.json`, "utf8")),
      (part) =>
        writeFileSync(`${part}.json`, readFileSync(`${part}.json`, "utf8").replace('"size":', '"size":1')),
    ];
    for (const damage of damages) {
      const copy = fresh();
      cpSync(folder, copy, { recursive: true });
      damage(join(copy, parts[0]!));
      const { reused } = await writeGeneration(copy, 1, 3, { resume: "input 1" });
      assert.equal(reused.length, 1);
      assert.deepEqual(hidden(copy), []);
      await readsAs(copy, 1);
    }
  });
});
