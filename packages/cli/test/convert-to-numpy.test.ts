import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { test } from "node:test";
import { openWeights } from "safetensors.js/node";
import { copyTorch, expectedOf, namesIn, safetensors, temporaryFolder, torchFixture } from "./command.ts";

test("convert makes a NumPy archive with an array for each tensor, ties included", async (t) => {
  const folder = temporaryFolder(t);
  const output = join(folder, "arrays.npz");
  const { code, stdout, stderr } = safetensors(["convert", torchFixture("tied.pt"), output, "--verify"]);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /^converted 4 tensors/);
  await using arrays = await openWeights(output);
  const found = await Promise.all(
    Array.from(arrays, async (tensor) => {
      const sha256 = createHash("sha256")
        .update(await tensor.bytes())
        .digest("hex");
      return { name: tensor.name, dtype: tensor.dtype, shape: [...tensor.shape], sha256 };
    }),
  );
  const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
  const wanted = [...expectedOf("tied.pt").tensors].sort(byName);
  assert.deepEqual(
    found.sort(byName),
    wanted.map(({ name, dtype, shape, sha256 }) => ({ name, dtype, shape, sha256 })),
  );
});

test("convert refuses what NumPy lacks, and says what helps; nothing is left", (t) => {
  const folder = temporaryFolder(t);
  const input = copyTorch("dtypes.pt", folder);
  const arrays = copyTorch("state-dict.pt", folder, "same.npz");
  const before = namesIn(folder);
  for (const [args, error] of [
    [[input, join(folder, "x.npz")], /^error UNSUPPORTED: .*NumPy has no \w+.*\n.*--dtype F32/s],
    [
      [arrays, join(folder, "x.npy")],
      /^error UNSUPPORTED: .*x\.npy would hold one array only; name it \.npz/,
    ],
    [
      [arrays, join(folder, "x.npz"), "--max-shard-size", "1GB"],
      /^error UNSUPPORTED: --max-shard-size is for safetensors/,
    ],
    [[arrays, arrays], /^error IO: .*is the input itself/],
  ] as const) {
    const run = safetensors(["convert", ...args]);
    assert.match(run.stderr, error);
    assert.deepEqual([run.code, run.stdout], [2, ""]);
    assert.deepEqual(namesIn(folder), before);
  }
});

test("options of PyTorch files are refused for NumPy's", (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, "in.npz");
  assert.equal(safetensors(["convert", torchFixture("state-dict.pt"), input]).code, 0);
  for (const options of [["--key", "a"], ["--flatten"], ["--quantized", "raw"], ["--sparse", "parts"]]) {
    const { code, stderr } = safetensors(["convert", input, join(folder, "x.safetensors"), ...options]);
    assert.equal(code, 2);
    assert.match(
      stderr,
      new RegExp(`^error UNSUPPORTED: ${options[0]} is for PyTorch files, the input is none`),
    );
  }
  assert.deepEqual(namesIn(folder), ["in.npz"]);
});
