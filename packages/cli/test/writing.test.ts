import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { saveFile } from "safetensors.js/node";
import { namesIn, safetensors, temporaryFolder } from "./command.ts";

/** A checkpoint of four layers and an embedding. */
async function writeModel(path: string): Promise<void> {
  const tensor = (value: number) =>
    ({ dtype: "U8", shape: [10], data: new Uint8Array(10).fill(value) }) as const;
  const layers = Array.from({ length: 4 }, (_, layer) => [`h.${layer}.w`, tensor(layer)] as const);
  await saveFile(path, [...layers, ["embed", tensor(9)]], { metadata: { format: "pt" } });
}

test("split, merge and extract give the same tensors back", async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, "model.safetensors");
  await writeModel(path);
  const split = safetensors(["split", path, join(folder, "parts"), "--max-size", "20B", "--verify"]);
  assert.equal(split.stderr, "");
  assert.equal(split.code, 0);
  assert.match(
    split.stdout,
    /^split 5 tensors, .* in .* s\n {2}written {2}.*model-00001-of-00003\.safetensors {2}/,
  );
  assert.equal(namesIn(join(folder, "parts")).length, 4);

  const merged = join(folder, "merged.safetensors");
  const { code, stdout } = safetensors(["merge", join(folder, "parts"), "--output", merged, "--json"]);
  assert.equal(code, 0);
  const { seconds, ...report } = JSON.parse(stdout);
  assert.ok(seconds > 0);
  assert.deepEqual(report, {
    files: [{ output: merged, outputBytes: readFileSync(path).length, tensors: 5, bytes: 50 }],
    aliases: {},
    removed: [],
    reused: [],
    dryRun: false,
  });
  assert.deepEqual(readFileSync(merged), readFileSync(path));

  const part = join(folder, "part.safetensors");
  const extract = [
    "extract",
    path,
    part,
    "--names",
    "embed",
    "--regex",
    "^h\\.[12]\\.",
    "--exclude",
    "*.2.*",
  ];
  assert.equal(safetensors([...extract, "--quiet"]).stdout, "");
  assert.match(safetensors(["inspect", part, "--table"]).stdout, /embed.*\n {2}h\.1\.w/);
});

test("what would destroy the input is refused, unless it is wanted", async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, "model.safetensors");
  await writeModel(path);
  const before = readFileSync(path);
  const refused = safetensors(["split", path, folder, "--by-layer"]);
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /is the input itself.*\n.*--replace/);
  assert.deepEqual(readFileSync(path), before);
  assert.equal(safetensors(["split", path, folder, "--files", "2", "--replace"]).code, 0);
  assert.deepEqual(readdirSync(folder).sort(), [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
  ]);
});

test("a dry run writes nothing; a tensor in two inputs is refused; no tensor is left", async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, "model.safetensors");
  await writeModel(path);
  const dry = safetensors(["split", path, join(folder, "parts"), "--files", "5", "--dry-run"]);
  assert.match(dry.stdout, /^would have split 5 tensors, [^\n]* B\n {2}to write /);
  assert.deepEqual(namesIn(folder), ["model.safetensors"]);
  const output = join(folder, "out.safetensors");
  const twice = safetensors(["merge", path, path, "--output", output]);
  assert.equal(twice.code, 1);
  assert.match(twice.stderr, /error DUPLICATE_NAME: tensor embed is in both .*--prefer/);
  assert.equal(safetensors(["merge", path, path, "--output", output, "--prefer", "last"]).code, 0);
  const none = safetensors(["extract", path, output, "--names", "nothing"]);
  assert.equal(none.code, 2);
  assert.match(none.stderr, /error TENSOR_NOT_FOUND: no tensor is left/);
});
