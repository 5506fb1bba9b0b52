import assert from "node:assert/strict";
import { cpSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { namesIn, safetensors, temporaryFolder } from "./command.ts";

const FIXTURES = fileURLToPath(new URL("../../../safetensors/test/fixtures/consolidate/", import.meta.url));

interface Entry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

const sorted = (tensors: readonly Entry[]): Entry[] =>
  tensors
    .map(({ name, dtype, shape }) => ({ name, dtype, shape }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));

/** The tensors that a fixture was made from. */
function expectedOf(folder: string): Entry[] {
  return sorted(JSON.parse(readFileSync(join(FIXTURES, "expected.json"), "utf8"))[folder].tensors);
}

function tensorsIn(path: string): Entry[] {
  return sorted(JSON.parse(safetensors(["inspect", path, "--json"]).stdout).tensors);
}

test("consolidate makes one checkpoint of the files of ranks", (t) => {
  const folder = temporaryFolder(t);
  const output = join(folder, "model.safetensors");
  const { code, stdout, stderr } = safetensors(["consolidate", join(FIXTURES, "dcp"), output]);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /^consolidated 18 tensors/);
  assert.match(stdout, /from +4 ranks in 4 files, PyTorch's distributed checkpoint/);
  assert.match(stdout, /tensors +13 were cut, 0 in several ranks, 5 in one/);
  assert.deepEqual(namesIn(folder), ["model.safetensors"]);
  assert.deepEqual(tensorsIn(output), expectedOf("dcp"));
});

test('consolidate finds the files in the folder "sharded", and writes nothing when it is to say what it would', (t) => {
  const folder = temporaryFolder(t);
  cpSync(join(FIXTURES, "dcp-files"), join(folder, "sharded"), { recursive: true });
  const args = ["consolidate", folder, folder, "--max-shard-size", "500B", "--json"];
  const dry = JSON.parse(safetensors([...args, "--dry-run"]).stdout);
  assert.deepEqual([dry.kind, dry.ranks, dry.inputs.length, dry.dryRun], ["dcp", 4, 12, true]);
  assert.deepEqual(namesIn(folder), ["sharded"]);
  const { files } = JSON.parse(safetensors(args).stdout);
  assert.deepEqual(namesIn(folder), [
    ...files.map((_: unknown, i: number) => `model-0000${i + 1}-of-0000${files.length}.safetensors`),
    "model.safetensors.index.json",
    "sharded",
  ]);
  assert.deepEqual(tensorsIn(folder), expectedOf("dcp-files"));
});

test("consolidate asks for rules, and takes them from a file", (t) => {
  const output = join(temporaryFolder(t), "out");
  const input = join(FIXTURES, "vllm");
  const without = safetensors(["consolidate", input, output]);
  assert.equal(without.code, 2);
  assert.match(without.stderr, /^error AMBIGUOUS: .* give one, such as \{"model\.layers\.\*\.[a-z_.]+":0\}/);
  const { code, stderr } = safetensors(["consolidate", input, output, "--cuts", join(input, "cuts.json")]);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.deepEqual(tensorsIn(output), expectedOf("vllm"));
});

test("consolidate refuses what is not whole, and what are no files of ranks", (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, "in"), join(folder, "out")];
  cpSync(join(FIXTURES, "deepseek"), input, { recursive: true });
  const one = safetensors(["consolidate", join(input, "model0-mp2.safetensors"), output]);
  assert.deepEqual([one.code, /name the folder with the files of all ranks/.test(one.stderr)], [2, true]);
  rmSync(join(input, "model1-mp2.safetensors"));
  const missing = safetensors(["consolidate", input, output]);
  assert.deepEqual([missing.code, /their names say 2/.test(missing.stderr)], [1, true], missing.stderr);
  rmSync(join(input, "model0-mp2.safetensors"));
  const empty = safetensors(["consolidate", input, output]);
  assert.deepEqual(
    [empty.code, /error NOT_FOUND: .*no files of ranks/.test(empty.stderr)],
    [2, true],
    empty.stderr,
  );
  assert.deepEqual(namesIn(folder), ["in"]);
});
