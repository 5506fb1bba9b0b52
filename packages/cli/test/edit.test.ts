import assert from "node:assert/strict";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { namesIn, safetensors, temporaryFolder } from "./command.ts";
import { evenHeader, writeHeader } from "./files.ts";

const NAMES = ["a.weight", "b.weight", "optimizer.step"];

/** A file with some spaces at the end of its header. */
function makeFile(path: string, names: readonly string[] = NAMES, room = 60): void {
  const [header, dataLength] = evenHeader(names, { format: "pt", note: "old" });
  writeHeader(path, JSON.stringify(header) + " ".repeat(room), dataLength);
}

/** The header of a file, read with nothing but the format's definition. */
function headerOf(path: string): Record<string, unknown> {
  const bytes = readFileSync(path);
  return JSON.parse(bytes.toString("utf8", 8, 8 + Number(bytes.readBigUInt64LE())));
}

test("edit changes metadata and names in place, and says how much room is left", (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, "m.safetensors");
  makeFile(file);
  const { ino, size } = statSync(file);
  const args = ["edit", file, "--set", "k=v=w", "--unset", "note", "--rename", "a.weight=x", "b.weight=y"];
  const planned = safetensors([...args, "--dry-run"]);
  assert.deepEqual([planned.code, planned.stderr], [0, ""]);
  assert.match(planned.stdout, /would edit 1 file\n.*m\.safetensors {2}in place; \d+ bytes of room left/);
  assert.deepEqual(Object.keys(headerOf(file)), ["__metadata__", ...NAMES]);
  const { code, stdout, stderr } = safetensors(args);
  assert.deepEqual([code, stderr, stdout], [0, "", planned.stdout.replace("would edit", "edited")]);
  const header = headerOf(file);
  assert.deepEqual(header.__metadata__, { format: "pt", k: "v=w" });
  assert.deepEqual(Object.keys(header), ["__metadata__", "x", "y", "optimizer.step"]);
  assert.deepEqual([statSync(file).ino, statSync(file).size], [ino, size]);
});

test("edit writes anew what does not fit, with room, and drops tensors", (t) => {
  const folder = temporaryFolder(t);
  const [file, output] = [join(folder, "m.safetensors"), join(folder, "out.safetensors")];
  makeFile(file, NAMES, 0);
  const args = [file, output, "--drop", "optimizer.*", "--reserve", "1KB", "--json"];
  const { code, stdout } = safetensors(["edit", ...args]);
  assert.equal(code, 0);
  const { files, dryRun } = JSON.parse(stdout);
  const { room, ...only } = files[0];
  assert.deepEqual(only, { output, how: "rewritten", outputBytes: statSync(output).size });
  assert.ok(room >= 1000 && room < 1008 && !dryRun);
  assert.deepEqual(Object.keys(headerOf(output)), ["__metadata__", "a.weight", "b.weight"]);
  assert.deepEqual(Object.keys(headerOf(file)), ["__metadata__", ...NAMES]);
  assert.equal(safetensors(["edit", file, "--set", `k=${"x".repeat(500)}`, "--quiet"]).stdout, "");
  assert.deepEqual(namesIn(folder), ["m.safetensors", "out.safetensors"]);
});

test("edit changes all files of a folder, and its index", (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, "model"));
  const path = (name: string): string => join(folder, "model", name);
  const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] as const;
  makeFile(path(shards[0]), ["a", "b"]);
  makeFile(path(shards[1]), ["c"]);
  const index = path("model.safetensors.index.json");
  writeFileSync(index, JSON.stringify({ weight_map: { a: shards[0], b: shards[0], c: shards[1] } }));
  const wrong = safetensors(["edit", path(shards[0]), "--rename", "a=x"]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /UNSUPPORTED.*name model\.safetensors\.index\.json or the folder/);
  const { code, stdout } = safetensors(["edit", join(folder, "model"), "--rename", "a=x", "--set", "k=v"]);
  assert.equal(code, 0);
  assert.match(stdout, /edited 2 files\n/);
  assert.match(stdout, /index\.json/);
  assert.deepEqual(Object.keys(headerOf(path(shards[0]))), ["__metadata__", "x", "b"]);
  assert.deepEqual(headerOf(path(shards[1])).__metadata__, { format: "pt", k: "v", note: "old" });
  assert.deepEqual(Object.keys(JSON.parse(readFileSync(index, "utf8")).weight_map), ["x", "b", "c"]);
});

test("edit refuses what is wrong with codes that tell why", (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, "m.safetensors");
  makeFile(file);
  const before = readFileSync(file);
  for (const [args, expected, said] of [
    [["--unset", "nope"], 1, /INVALID_NAME.*"nope"/],
    [["--rename", "a.weight=b.weight"], 1, /DUPLICATE_NAME/],
    [["--rename", "nope=x"], 2, /TENSOR_NOT_FOUND/],
    [["--set", "nope"], 2, /It has no "="/],
    [["--set", "k=1", "k=2"], 2, /a second time/],
  ] as const) {
    const { code, stderr } = safetensors(["edit", file, ...args]);
    assert.equal(code, expected, stderr);
    assert.match(stderr, said);
  }
  assert.deepEqual(readFileSync(file), before);
  assert.match(safetensors(["edit", file]).stdout, /^nothing to change\n/);
});
