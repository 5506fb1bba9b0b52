import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, it } from "node:test";
import { fileSink } from "../../../src/node/write/file-sink.ts";
import { isOfCheckpoint, leftoversIn, removeLitter, temporaryFor } from "../../../src/node/write/litter.ts";
import { nobodyTag, ownPlace, writerTag } from "../../../src/node/write/litter-writer.ts";
import { temporaryFolder } from "../../support.ts";

const root = temporaryFolder();
let folders = 0;
let folder = "";
beforeEach(() => {
  folder = join(root, String(folders++));
  mkdirSync(folder);
});

const put = (name: string): void => writeFileSync(join(folder, name), "");
const listed = (): string[] => readdirSync(folder).sort();
const dead = `${spawnSync(process.execPath, ["-e", ""]).pid}-1-${ownPlace()}-0123456789ab`;
const isModel = (name: string): boolean => name === "model.safetensors";
const posix = { skip: process.platform === "win32" };

describe("litter", () => {
  it("is what a process that is gone was writing for the same target", async () => {
    put(`.model.safetensors.${dead}.tmp`);
    put(`.model.safetensors.${dead}.tmp.json`);
    put(`.model.safetensors.${nobodyTag()}.tmp`);
    await removeLitter(folder, isModel);
    assert.deepEqual(listed(), []);
  });

  it("is removed before a file is written to the same target, and only of that", async () => {
    put(`.model.safetensors.${dead}.tmp`);
    put(`.model2.safetensors.${dead}.tmp`);
    const sink = await fileSink(join(folder, "model.safetensors"));
    await sink.commit();
    assert.deepEqual(listed(), [`.model2.safetensors.${dead}.tmp`, "model.safetensors"]);
  });

  it("is nothing of a living process, of this one least of all", async () => {
    const names = [writerTag(), `${process.ppid}-0-${ownPlace()}-0123456789ab`].map(
      (tag) => `.model.safetensors.${tag}.tmp`,
    );
    names.forEach(put);
    await removeLitter(folder, isModel);
    assert.deepEqual(listed(), names.sort());
  });

  it("is what a process with a number that another one has now was writing", {
    skip: process.platform !== "linux",
  }, async () => {
    put(`.model.safetensors.${process.pid}-1-${ownPlace()}-0123456789ab.tmp`);
    await removeLitter(folder, isModel);
    assert.deepEqual(listed(), []);
  });

  it("of another machine, or of before a restart, is left for a day", async () => {
    const [young, old] = ["0123456789ab", "ba9876543210"].map(
      (number) => `.model.safetensors.${process.pid}-1-00000000-${number}.tmp`,
    );
    put(young!);
    put(old!);
    const yesterday = Date.now() / 1000 - 25 * 60 * 60;
    utimesSync(join(folder, old!), yesterday, yesterday);
    await removeLitter(folder, isModel);
    assert.deepEqual(listed(), [young]);
  });

  it("is nothing that only looks like it", posix, async () => {
    const names = [
      "model.safetensors",
      `model.safetensors.${dead}.tmp`,
      `.model.safetensors.${dead}.tmp2`,
      `.model.safetensors.${dead}.tmp.json.bak`,
      `.model.safetensors.${dead}`,
      `.model.safetensors.x${dead}.tmp`,
      `.model.safetensors.${dead.toUpperCase()}.tmp`,
      `.model.safetensors.${dead}0.tmp`,
      ".model.safetensors.0123456789ab.tmp",
      `.model.safetensors.bak.${dead}.tmp`,
      `.my.model.safetensors.${dead}.tmp`,
      `..${dead}.tmp`,
      ".model.safetensors.tmp",
    ];
    names.forEach(put);
    mkdirSync(join(folder, `.model.safetensors.${dead.replace(/b$/, "c")}.tmp`));
    symlinkSync("model.safetensors", join(folder, `.model.safetensors.${dead.replace(/b$/, "d")}.tmp`));
    const before = listed();
    await removeLitter(folder, isModel);
    assert.deepEqual(listed(), before);
  });

  it("has a name that is read as it was written, whatever the target's name", async () => {
    for (const name of ["model.safetensors", ".hidden", "x.1-2-abcdef01-0123456789ab.tmp", "a\nb", "ü.x"]) {
      const path = temporaryFor(join(folder, name), dead);
      writeFileSync(path, "");
      const found = await leftoversIn(folder, (target) => target === name);
      assert.deepEqual(found, [{ path, target: name, isRecord: false, isGone: true }]);
    }
  });

  it("of a checkpoint is told by its names, with any number of files", () => {
    const isOfIt = isOfCheckpoint(["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]);
    for (const name of [
      "model.safetensors",
      "model-00003-of-00007.safetensors",
      "model.safetensors.index.json",
    ]) {
      assert.ok(isOfIt(name), name);
    }
    for (const name of [
      "model2.safetensors",
      "model-1-of-2.safetensors",
      "model-00001-of-00002.bin",
      "model-00001-of-00002.fp16.safetensors",
      "model-00001-of-00002.safetensors.bak",
      "xmodel.safetensors",
      "model.safetensors.index.json.bak",
      "modelxsafetensors",
    ]) {
      assert.ok(!isOfIt(name), name);
    }
  });
});
