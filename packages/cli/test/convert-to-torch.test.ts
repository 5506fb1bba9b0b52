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

test("convert goes by what a file holds, not by its name", (t) => {
  const folder = temporaryFolder(t);
  // A PyTorch file is converted to safetensors as ever, even if the output has a PyTorch name.
  const output = join(folder, "out.bin");
  assert.equal(safetensors(["convert", torchFixture("state-dict.pt"), output]).code, 0);
  assert.equal(safetensors(["check", output]).code, 0);
  assert.notEqual(readFileSync(output).toString("latin1", 0, 2), "PK");
  // That file is safetensors with a PyTorch name, and can become a PyTorch file.
  assert.equal(safetensors(["convert", output, join(folder, "out.pt")]).code, 0);
  assert.deepEqual(tensorsIn(join(folder, "out.pt")), withoutData("state-dict.pt"));
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
