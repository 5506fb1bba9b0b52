import assert from "node:assert/strict";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, it } from "node:test";
import { open } from "../../../src/checkpoint/open.ts";
import { recordDigests } from "../../../src/node/digests/record-digests.ts";
import { realDisk } from "../../../src/node/edit/disk.ts";
import { editCheckpoint, editCheckpointOn } from "../../../src/node/edit/edit-checkpoint.ts";
import { openPath } from "../../../src/node/open-path.ts";
import { encodeIndex } from "../../../src/node/write/index-text.ts";
import { writerTag } from "../../../src/node/write/litter-writer.ts";
import { saveFile } from "../../../src/node/write/save-file.ts";
import { noise, raises, temporaryFolder } from "../../support.ts";
import { dyingDisk } from "./dying-disk.ts";

const root = temporaryFolder();
const posix = { skip: process.platform === "win32" };
const FIRST = "model-00001-of-00002.safetensors";
const SECOND = "model-00002-of-00002.safetensors";
const INDEX = "model.safetensors.index.json";
const FILES = [FIRST, SECOND, INDEX].sort();
let folders = 0;
let folder = "";
beforeEach(async () => {
  folder = join(root, String(folders++));
  mkdirSync(folder);
  const tensor = (seed: number) => ({ dtype: "U8", shape: [300], data: noise(300, seed) }) as const;
  // The first file has room in its header, the second one has not.
  await saveFile(path(FIRST), { a: tensor(1), b: tensor(2) }, { metadata: { format: "pt" }, reserve: 500 });
  await saveFile(path(SECOND), { c: tensor(3) }, { metadata: { format: "pt", own: "1" } });
  const map = new Map([
    ["a", FIRST],
    ["b", FIRST],
    ["c", SECOND],
  ]);
  writeFileSync(path(INDEX), encodeIndex({ total_size: 900, é: [1.5, null] }, map));
});

const path = (name: string): string => join(folder, name);
const listed = (): string[] => readdirSync(folder).sort();
const bytes = (): string => FILES.map((name) => readFileSync(path(name), "latin1")).join("\n");

async function content(): Promise<[string, string][]> {
  await using checkpoint = await openPath(folder);
  const all: [string, string][] = [];
  for (const tensor of checkpoint) all.push([tensor.name, Buffer.from(await tensor.bytes()).toString("hex")]);
  return [...all.sort(), ...checkpoint.metadata] as [string, string][];
}

const CHANGES = {
  setMetadata: { note: "x".repeat(100) },
  removeMetadata: ["own"],
  rename: new Map([
    ["a", "c"],
    ["c", "a much longer name"],
  ]),
};

describe("editCheckpoint", () => {
  it("takes digests out of the files in which names change, and of no others", async () => {
    await recordDigests(folder);
    await editCheckpoint(folder, { rename: new Map([["b", "d"]]) });
    const keysOf = async (name: string) => [...(await open(readFileSync(path(name)))).metadata.keys()];
    assert.deepEqual(await keysOf(FIRST), ["format"]);
    assert.deepEqual(await keysOf(SECOND), ["format", "own", "sha256.data", "sha256.tensors"]);
  });

  it("changes files and index as one", async () => {
    const before = new Map((await content()).filter(([, value]) => value.length > 10));
    const result = await editCheckpoint(folder, CHANGES, { reserve: 64 });
    assert.deepEqual(
      result.files.map(({ how, path }) => [how, path]),
      [
        ["in-place", path(FIRST)],
        ["rewritten", path(SECOND)],
      ],
    );
    assert.equal(result.index, path(INDEX));
    assert.ok(result.files[1]!.room >= 64);
    assert.deepEqual(listed(), FILES);
    assert.deepEqual(
      new Map(await content()),
      new Map([
        ["a much longer name", before.get("c")!],
        ["b", before.get("b")!],
        ["c", before.get("a")!],
        ["format", "pt"],
        ["note", CHANGES.setMetadata.note],
      ]),
    );
    const index = readFileSync(path(INDEX), "utf8");
    assert.match(index, /"total_size": 900/);
    assert.match(index, /"é": \[\n/);
    assert.match(index, /"a much longer name": "model-00002/);
  });

  it("leaves the whole checkpoint as before or as after, wherever it dies", async () => {
    const saved = join(root, `saved${folders}`);
    cpSync(folder, saved, { recursive: true });
    const before = await content();
    const whole = dyingDisk(Number.POSITIVE_INFINITY);
    await editCheckpointOn(whole, folder, CHANGES, {});
    const [after, afterBytes] = [await content(), bytes()];
    const placed = whole.steps.indexOf("link");
    assert.equal(whole.steps.filter((step) => step === "rename").length, 2);
    for (let life = 0; life < whole.steps.length; life++) {
      rmSync(folder, { recursive: true });
      cpSync(saved, folder, { recursive: true });
      await assert.rejects(editCheckpointOn(dyingDisk(life), folder, CHANGES, {}));
      assert.deepEqual(await content(), life <= placed ? before : after, `${life}: ${whole.steps[life]}`);
      if (life <= placed) continue;
      // The journal's temporary name goes only when its process is gone.
      const names = listed().filter((name) => !/\.(tmp|next)$/.test(name));
      assert.deepEqual([bytes(), names], [afterBytes, FILES]);
    }
  });

  it("clears away what one that was killed has left", async () => {
    writeFileSync(path(`.${SECOND}.0-0-00000000-0123456789ab.next`), "left");
    const alive = `.${SECOND}.${writerTag()}.next`;
    writeFileSync(path(alive), "in use");
    await editCheckpoint(folder, CHANGES);
    assert.deepEqual(listed(), [alive, ...FILES]);
  });

  it("edits metadata alone without the index, and single files", async () => {
    const index = readFileSync(path(INDEX));
    const { index: changed } = await editCheckpoint(path(INDEX), { setMetadata: { k: "v" } });
    assert.equal(changed, undefined);
    assert.deepEqual(readFileSync(path(INDEX)), index);
    const { files } = await editCheckpoint(path(FIRST), { setMetadata: { k: "w" } });
    assert.deepEqual([files.length, files[0]!.how], [1, "in-place"]);
  });

  it("refuses what one of the files cannot have, and changes nothing", async () => {
    const before = bytes();
    const refused = async (changes: Parameters<typeof editCheckpoint>[1], expected: object) => {
      await assert.rejects(editCheckpoint(folder, changes), expected as Error);
      assert.deepEqual([bytes(), listed()], [before, FILES]);
    };
    await refused({ rename: new Map([["a", "c"]]) }, raises("DUPLICATE_NAME", /"a" cannot be named "c"/));
    await refused({ rename: new Map([["x", "y"]]) }, raises("TENSOR_NOT_FOUND"));
    await refused({ removeMetadata: ["x"] }, raises("INVALID_NAME", /no file has that key/));
    const stopped = editCheckpoint(folder, CHANGES, { signal: AbortSignal.abort(new Error("enough")) });
    await assert.rejects(stopped, /enough/);
    assert.deepEqual([bytes(), listed()], [before, FILES]);
    await editCheckpoint(folder, CHANGES, { dryRun: true });
    assert.deepEqual([bytes(), listed()], [before, FILES]);
  });

  it("does not rename tensors in one file of several, of which an index says the names", async () => {
    const rename = new Map([["a", "x"]]);
    await assert.rejects(editCheckpoint(path(FIRST), { rename }), raises("UNSUPPORTED", /name model\.safe/));
    rmSync(path(INDEX));
    assert.equal((await editCheckpoint(path(FIRST), { rename })).files[0]!.how, "in-place");
  });

  it("does not replace a file that was written to meanwhile", async () => {
    const disk = {
      ...realDisk,
      link(from: string, to: string) {
        realDisk.link(from, to);
        const whole = readFileSync(path(SECOND));
        whole[whole.length - 1]! ^= 1;
        writeFileSync(path(SECOND), whole);
      },
    };
    const edit = editCheckpointOn(disk, folder, CHANGES, {});
    await assert.rejects(edit, raises("SOURCE_CHANGED", /model-00002/));
    assert.deepEqual(listed(), FILES);
  });

  it("follows links, as in a cache of the hub, if all files are in one folder", posix, async () => {
    const snapshot = join(root, `snapshot${folders}`);
    mkdirSync(snapshot);
    for (const name of FILES) symlinkSync(path(name), join(snapshot, name));
    await editCheckpoint(snapshot, CHANGES);
    assert.deepEqual(readdirSync(snapshot).sort(), FILES);
    assert.ok((await content()).some(([name]) => name === "a much longer name"));
    mkdirSync(path("other"));
    cpSync(path(FIRST), path(`other/${FIRST}`));
    rmSync(join(snapshot, FIRST));
    symlinkSync(path(`other/${FIRST}`), join(snapshot, FIRST));
    const edit = editCheckpoint(snapshot, { setMetadata: { k: "v" } });
    await assert.rejects(edit, raises("UNSUPPORTED", /several folders/));
  });
});
