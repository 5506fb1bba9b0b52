import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { copyTorch, expectedOf, namesIn, safetensors, temporaryFolder, torchFixture } from "./command.ts";
import { evenHeader, writeHeader } from "./files.ts";

/** What `inspect` finds in a file. */
function tensorsIn(path: string): { name: string; dtype: string; shape: number[] }[] {
  const { code, stdout, stderr } = safetensors(["inspect", path, "--json"]);
  assert.equal(code, 0, stderr);
  const { tensors } = JSON.parse(stdout) as { tensors: { name: string; dtype: string; shape: number[] }[] };
  return tensors
    .map(({ name, dtype, shape }) => ({ name, dtype, shape }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

const withoutData = (file: string): { name: string; dtype: string; shape: readonly number[] }[] =>
  expectedOf(file)
    .tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));

for (const ending of ["pt", "pth", "bin", "PT"]) {
  test(`convert makes a PyTorch file of safetensors (.${ending})`, (t) => {
    const folder = temporaryFolder(t);
    const weights = join(folder, "model.safetensors");
    safetensors(["convert", torchFixture("tied.pt"), weights]);
    const output = join(folder, `model.${ending}`);
    const { code, stdout, stderr } = safetensors(["convert", weights, output]);
    assert.equal(stderr, "");
    assert.equal(code, 0);
    assert.match(stdout, /^converted 2 tensors/);
    assert.match(stdout, new RegExp(`written +.*model\\.${ending}`));
    assert.match(stdout, /wte\.weight is copy, stored once/);
    assert.deepEqual(namesIn(folder), [`model.${ending}`, "model.safetensors"].sort());
    assert.equal(readFileSync(output).toString("latin1", 0, 4), "PK\x03\x04");
    assert.deepEqual(tensorsIn(output), withoutData("tied.pt"));
  });
}

test("convert makes one PyTorch file of a folder or an index, whatever else is in the folder", (t) => {
  const folder = temporaryFolder(t);
  const sharded = copyTorch("sharded-tied", folder);
  assert.equal(safetensors(["convert", sharded]).code, 0);
  const [one, two] = [join(folder, "one.pt"), join(folder, "two.pt")];
  assert.equal(safetensors(["convert", sharded, one]).code, 0);
  assert.equal(safetensors(["convert", join(sharded, "model.safetensors.index.json"), two]).code, 0);
  assert.deepEqual(readFileSync(one), readFileSync(two));
  assert.deepEqual(tensorsIn(one), withoutData("sharded-tied/pytorch_model.bin.index.json"));
});

test("convert --json and --quiet say the same in this direction", (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, "in.safetensors"), join(folder, "out.pt")];
  writeHeader(input, ...evenHeader(["a", "b"], { format: "pt", c: "a" }));
  assert.deepEqual(safetensors(["convert", input, output, "--quiet"]), { code: 0, stdout: "", stderr: "" });
  const { code, stdout, stderr } = safetensors(["convert", input, output, "--json"]);
  assert.deepEqual([code, stderr], [0, ""]);
  const { seconds, ...result } = JSON.parse(stdout);
  assert.equal(typeof seconds, "number");
  assert.deepEqual(result, {
    inputs: [{ input, inputBytes: readFileSync(input).length }],
    files: [
      {
        inputs: [input],
        output,
        outputBytes: readFileSync(output).length,
        tensors: 2,
        bytes: 48,
      },
    ],
    aliases: { c: "a" },
  });
});

test("convert of safetensors without an output says how to name one", (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, "model.safetensors");
  writeHeader(input, ...evenHeader(["a"]));
  for (const args of [[input], [folder], [input, join(folder, "other.safetensors")]]) {
    const { code, stdout, stderr } = safetensors(["convert", ...args]);
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(
      stderr,
      /^error UNSUPPORTED: .*already.*\n {2}.*safetensors convert model\.safetensors model\.pt\n$/,
    );
  }
  assert.deepEqual(namesIn(folder), ["model.safetensors"]);
});

test("convert goes by what a file holds, and by the name of the output", (t) => {
  const folder = temporaryFolder(t);
  const named = join(folder, "weights.bin");
  writeHeader(named, ...evenHeader(["a"]));
  assert.equal(safetensors(["convert", named, join(folder, "out.pt")]).code, 0);
  assert.equal(readFileSync(join(folder, "out.pt")).toString("latin1", 0, 2), "PK");
});

test("convert makes a new PyTorch file of one that a scanner does not vouch for", (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [copyTorch("unknown-class.pt", folder, "in.bin"), join(folder, "out.pt")];
  assert.equal(safetensors(["scan", input]).code, 2);
  const { code, stdout, stderr } = safetensors(["convert", input, output]);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(
    stdout,
    /left out +settings .*\n.*none run\n.*unknown: company\.settings\.Settings; nothing of it/,
  );
  assert.equal(safetensors(["scan", output]).code, 0);
  assert.deepEqual(tensorsIn(output), withoutData("unknown-class.pt"));
});

test("convert from PyTorch to PyTorch keeps ties, and takes the options of reading", (t) => {
  const folder = temporaryFolder(t);
  const output = join(folder, "out.pth");
  const run = (file: string, ...options: string[]): string[] => {
    const { code, stderr } = safetensors(["convert", torchFixture(file), output, ...options]);
    assert.equal(code, 0, stderr);
    return tensorsIn(output).map(({ name, dtype }) => `${name} ${dtype}`);
  };
  const { stdout } = safetensors([
    "convert",
    torchFixture("sharded-tied"),
    output,
    "--single-file",
    "--verify",
  ]);
  assert.match(stdout, /tied +wte\.weight is lm_head\.weight, stored once/);
  assert.deepEqual(tensorsIn(output), withoutData("sharded-tied/pytorch_model.bin.index.json"));
  const quantized = "unreadable-quantized.pt";
  assert.deepEqual(run(quantized, "--quantized", "dequantize"), ["other F32", "plain F32"]);
  assert.deepEqual(run(quantized, "--exclude", "other", "--dtype", "BF16"), ["plain BF16"]);
  assert.deepEqual(run("unreadable-coo.pt", "--sparse", "densify", "--include", "o*"), ["other F32"]);
  assert.equal(run("unreadable-complex128.pt", "--split-complex").length, 3);
  assert.equal(run("two-state-dicts.pt", "--key", "generator").length, 3);
  const two = ["--flatten", "--strip-prefix", "generator."];
  assert.ok(run("two-state-dicts.pt", ...two).includes("weight F32"));
});

test("convert from PyTorch to PyTorch refuses by name what a PyTorch file cannot have", (t) => {
  const output = join(temporaryFolder(t), "out.pt");
  for (const [name, value] of [
    ["--keep", "copy"],
    ["--discard", "copy"],
    ["--max-shard-size", "5GB"],
  ] as const) {
    const { code, stderr } = safetensors(["convert", torchFixture("tied.pt"), output, name, value]);
    assert.equal(code, 2);
    assert.match(stderr, new RegExp(`^error UNSUPPORTED: ${name} is for safetensors`));
  }
});

test("convert to PyTorch refuses what it cannot do, and leaves everything as it was", (t) => {
  const folder = temporaryFolder(t);
  const good = join(folder, "good.safetensors");
  writeHeader(good, ...evenHeader(["a"]));
  const six = join(folder, "six.safetensors");
  writeHeader(six, { a: { dtype: "F6_E2M3", shape: [4], data_offsets: [0, 3] } }, 3);
  const cut = join(folder, "cut.safetensors");
  writeHeader(cut, evenHeader(["a"])[0], 3);
  const same = join(folder, "same.pt");
  copyFileSync(good, same);
  const torchSame = copyTorch("state-dict.pt", folder, "same.bin");
  const old = join(folder, "old.pt");
  writeFileSync(old, "old");
  mkdirSync(join(folder, "folder.pt"));
  const before = namesIn(folder);
  for (const [args, code, error] of [
    [[six, old], 2, /^error UNSUPPORTED: .*"a" is F6_E2M3/],
    [[cut, old], 1, /^error TRUNCATED: /],
    [[same, same], 2, /^error IO: .*is the input itself/],
    [[good, join(folder, "folder.pt")], 2, /^error IO: .*is a folder/],
    [[good, join(folder, "none", "x.pt")], 2, /^error NOT_FOUND: there is no folder/],
    [[join(folder, "none"), old], 2, /^error NOT_FOUND: /],
    [[good, old, "--key", "a"], 2, /^error UNSUPPORTED: --key/],
    [[good, old, "--quantized", "raw"], 2, /^error UNSUPPORTED: --quantized is for PyTorch files/],
    [[good, old, "--keep", "a"], 2, /^error UNSUPPORTED: --keep is for safetensors/],
    [[torchFixture("os-system.pt"), old], 1, /^error FORBIDDEN_GLOBAL: /],
    [[torchFixture("expansion-bomb.pt"), old], 1, /^error LIMIT_EXCEEDED: /],
    [[torchSame, torchSame], 2, /^error IO: .*is the input itself/],
  ] as const) {
    const run = safetensors(["convert", ...args]);
    assert.match(run.stderr, error);
    assert.deepEqual([run.code, run.stdout], [code, ""], run.stderr);
    const json = safetensors(["convert", ...args, "--json"]);
    assert.deepEqual([json.code, json.stderr], [code, ""]);
    assert.match(JSON.parse(json.stdout).error.code, /^[A-Z_]+$/);
    assert.deepEqual(namesIn(folder), before);
  }
  assert.equal(readFileSync(old, "utf8"), "old");
});
