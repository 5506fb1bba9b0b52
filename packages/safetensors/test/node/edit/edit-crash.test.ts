import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, it } from "node:test";
import { type Disk, realDisk } from "../../../src/node/edit/disk.ts";
import { editFileOn } from "../../../src/node/edit/edit-file.ts";
import { finishEdits } from "../../../src/node/edit/journal-finish.ts";
import { hasJournal } from "../../../src/node/edit/journal-look.ts";
import { writeTensorsOn } from "../../../src/node/edit/write-tensors.ts";
import { openFile } from "../../../src/node/file-source.ts";
import { saveFile } from "../../../src/node/write/save-file.ts";
import type { SaveInputs } from "../../../src/save/save.ts";
import { noise, numbers, temporaryFolder } from "../../support.ts";
import { Died, dyingDisk } from "./dying-disk.ts";

const root = temporaryFolder();
let folders = 0;
let file = "";
beforeEach(() => {
  const folder = join(root, String(folders++));
  mkdirSync(folder);
  file = join(folder, "model.safetensors");
});

const tensor = (seed: number, size: number) =>
  ({ dtype: "U8", shape: [size], data: noise(size, seed) }) as const;
/** Sizes that share sectors, and that fill many. */
const SIZES = { a: 100, b: 900, c: 3000, d: 20_345, e: 5, f: 0 };
const tensors = (seed: number, names: readonly string[] = Object.keys(SIZES)): SaveInputs =>
  new Map(names.map((name, i) => [name, tensor(seed + i, SIZES[name as keyof typeof SIZES])]));

/** An edit, and a name for what it changes. */
type Edit = (disk: Disk, path: string) => Promise<unknown>;
const EDITS: ReadonlyMap<string, Edit> = new Map<string, Edit>([
  [
    "the header",
    (disk, path) => {
      const changes = { setMetadata: { k: "x".repeat(1500) }, rename: new Map([["c", "see"]]) };
      return editFileOn(disk, path, changes, {});
    },
  ],
  ["tensors that lie apart", (disk, path) => writeTensorsOn(disk, path, tensors(70, ["a", "d", "e"]), {})],
  ["neighbours", (disk, path) => writeTensorsOn(disk, path, tensors(80, ["b", "c", "f"]), {})],
]);

/** The file before and after an edit. */
async function beforeAndAfter(edit: Edit) {
  await saveFile(file, tensors(1), { reserve: 2000 });
  const before = readFileSync(file);
  await edit(realDisk, file);
  const after = readFileSync(file);
  assert.notDeepEqual(after, before);
  assert.deepEqual(readdirSync(join(file, "..")), ["model.safetensors"]);
  return { before, after };
}

/** Opens the file, as everybody does, and tells what is there then. */
async function found(before: Buffer, after: Buffer): Promise<string> {
  await (await openFile(file)).close();
  assert.ok(!hasJournal(file));
  const now = readFileSync(file);
  return now.equals(before) ? "before" : now.equals(after) ? "after" : "neither";
}

for (const [what, edit] of EDITS) {
  describe(`an edit of ${what} that dies`, () => {
    it("leaves the file as before or as after, whatever it had done", async () => {
      const { before, after } = await beforeAndAfter(edit);
      const whole = dyingDisk(Number.POSITIVE_INFINITY);
      writeFileSync(file, before);
      await edit(whole, file);
      const placed = whole.steps.indexOf("link");
      assert.ok(placed > 3 && whole.steps.length > placed + 5, whole.steps.join());
      for (let life = 0; life < whole.steps.length; life++) {
        writeFileSync(file, before);
        await assert.rejects(edit(dyingDisk(life), file), (error: Error) => {
          return error instanceof Died || error.cause instanceof Died;
        });
        const expected = life <= placed ? "before" : "after";
        assert.equal(await found(before, after), expected, `after ${life} steps: ${whole.steps[life]}`);
      }
    });

    it("leaves it so also if a write was cut, or sectors came to the disk in any order", async () => {
      const { before, after } = await beforeAndAfter(edit);
      const next = numbers(5);
      const someSectors = (fd: number, bytes: Uint8Array, offset: number): void => {
        for (let at = 0; at < bytes.length; at += 512) {
          if (next() % 2) realDisk.write(fd, bytes.subarray(at, at + 512), offset + at);
        }
      };
      const firstSectors = (fd: number, bytes: Uint8Array, offset: number): void => {
        const sectors = next() % Math.ceil(bytes.length / 512);
        realDisk.write(fd, bytes.subarray(0, sectors * 512), offset);
      };
      for (const last of [someSectors, firstSectors]) {
        const counted = dyingDisk(Number.POSITIVE_INFINITY);
        writeFileSync(file, before);
        await edit(counted, file);
        for (const [life, step] of counted.steps.entries()) {
          if (step !== "write") continue;
          writeFileSync(file, before);
          await assert.rejects(edit(dyingDisk(life, last), file));
          assert.notEqual(await found(before, after), "neither", `in step ${life}`);
        }
      }
    });

    it("can be finished by one that dies as well", async () => {
      const { before, after } = await beforeAndAfter(edit);
      const counted = dyingDisk(Number.POSITIVE_INFINITY);
      writeFileSync(file, before);
      await edit(counted, file);
      const placed = counted.steps.indexOf("link");
      for (let second = 0; second < 6; second++) {
        writeFileSync(file, before);
        await assert.rejects(edit(dyingDisk(placed + 4), file));
        await assert.rejects(finishEdits(file, { disk: dyingDisk(second) }));
        assert.equal(await found(before, after), "after");
      }
    });
  });
}
