import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
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
  const split = safetensors(["split", path, join(folder, "parts"), "--max-shard-size", "20B", "--verify"]);
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
    copied: [],
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

test("--with-files makes a folder of weights a model: what is beside the input, but no weights and no index", async (t) => {
  const folder = temporaryFolder(t);
  const [model, copy] = [join(folder, "model"), join(folder, "copy")];
  mkdirSync(join(model, "original"), { recursive: true });
  await writeModel(join(model, "model.safetensors"));
  const beside = ["LICENSE", "config.json", "modeling.py", "tokenizer.model"];
  for (const name of beside) writeFileSync(join(model, name), name);
  for (const name of [
    "old.bin",
    ".hidden.json",
    "pytorch_model.bin.index.json",
    "model.safetensors.manifest.json",
  ])
    writeFileSync(join(model, name), name);
  symlinkSync("config.json", join(model, "link.json"));
  symlinkSync("nothing", join(model, "dangling.json"));
  const args = ["split", model, copy, "--files", "2", "--with-files"];
  assert.match(safetensors([...args, "--dry-run"]).stdout, / to copy +.*LICENSE\n/);
  assert.equal(existsSync(copy), false);
  const { code, stdout } = safetensors([...args, "--json"]);
  assert.equal(code, 0);
  const copied = [...beside, "link.json"].sort();
  assert.deepEqual(
    JSON.parse(stdout).copied,
    copied.map((name) => join(copy, name)),
  );
  const weights = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  assert.deepEqual(namesIn(copy), [...copied, ...weights, "model.safetensors.index.json"].sort());
  assert.equal(readFileSync(join(copy, "link.json"), "utf8"), "config.json");

  assert.deepEqual(JSON.parse(safetensors([...args, "--json"]).stdout).copied, []);
  writeFileSync(join(copy, "config.json"), "mine");
  const before = readFileSync(join(copy, "model-00001-of-00002.safetensors"));
  const refused = safetensors(["cast", model, copy, "--dtype", "F16", "--with-files"]);
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /error IO: .*config\.json is there and differs from/);
  assert.equal(readFileSync(join(copy, "config.json"), "utf8"), "mine");
  assert.deepEqual(readFileSync(join(copy, "model-00001-of-00002.safetensors")), before);
  assert.match(
    safetensors(["merge", model, "--output", join(folder, "m.safetensors"), "--with-files"]).stderr,
    /copies into a folder/,
  );
});

test("an output or a choice that cannot be meant is refused, and nothing is written", async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, "model.safetensors");
  await writeModel(path);
  writeFileSync(join(folder, "plain"), "");
  const at = (name: string): string => join(folder, name);
  for (const [args, said] of [
    [["merge", path, "--output", at("model.bin")], /UNSUPPORTED.*would be a folder.*safetensors convert/],
    [["merge", path, "--output", at("plain")], /UNSUPPORTED.*is there and is no folder/],
    [["merge", path, "--output", "hf://org/model"], /UNSUPPORTED.*is an address/],
    [["merge", path, "--output", ""], /UNSUPPORTED: the output has no name/],
    [["split", path, at("one.safetensors"), "--files", "2"], /one file, which cannot be split/],
    [["merge", path, "--output", at("one.safetensors"), "--max-shard-size", "1GB"], /cannot be split/],
    [["split", path, at("out"), "--stem", "../up"], /It is the begin of a name/],
    [["cast", path, at("out"), "--dtype", "F16", "--names", "nothing*"], /TENSOR_NOT_FOUND.*like nothing\*/],
    [["rename", path, "--sub", "s/embed/e/", "--verify"], /--verify and --resume are for an output/],
    [["repair", "https://127.0.0.1/x", at("out")], /is an address; download it/],
    [["edit", "https://127.0.0.1/x", "--set", "a=b"], /is an address/],
    [["edit", folder, "--drop", "embed"], /a whole checkpoint; use safetensors extract .* --exclude/],
    [["transform", path, at("out"), "--recipe", folder], /is a folder, not a JSON file/],
  ] as const) {
    const { code, stdout, stderr } = safetensors(args);
    assert.deepEqual([code, stdout], [2, ""], `${args.join(" ")}\n${stderr}`);
    assert.match(stderr, said);
  }
  assert.deepEqual(namesIn(folder), ["model.safetensors", "plain"]);
});

test("an error names the input that it is about, where there are several", async (t) => {
  const folder = temporaryFolder(t);
  const [good, cut] = [join(folder, "good.safetensors"), join(folder, "cut.safetensors")];
  await writeModel(good);
  writeFileSync(cut, readFileSync(good).subarray(0, -1));
  for (const args of [
    ["diff", good, cut],
    ["merge", good, cut, "--output", join(folder, "all.safetensors")],
  ]) {
    assert.match(safetensors(args).stderr, /error TRUNCATED: .*cut\.safetensors: .*\n.*repair --salvage/);
  }
  const { stdout, stderr, code } = safetensors(["hash", good, join(folder, "none"), "--json"]);
  assert.deepEqual([code, stderr], [2, ""]);
  const { results } = JSON.parse(stdout);
  assert.deepEqual([results[0].files[0].file, results[1].error.code], [good, "NOT_FOUND"]);
});
