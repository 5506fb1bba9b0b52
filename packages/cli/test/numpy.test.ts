import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { BIN, safetensors } from "./command.ts";

/** Path of a NumPy fixture. */
const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../safetensors/test/fixtures/numpy/${name}`, import.meta.url));

test("inspect and stats look into NumPy files", () => {
  const { code, stdout } = safetensors(["inspect", "--json", fixture("compressed.npz")]);
  assert.equal(code, 0);
  const { tensors } = JSON.parse(stdout) as { tensors: { name: string; dtype: string; shape: number[] }[] };
  assert.deepEqual(
    tensors.map(({ name, dtype, shape }) => `${name} ${dtype} [${shape}]`),
    [
      "long I32 [1000,200]",
      "zeros F64 [300,200]",
      "noise U8 [3000]",
      "big I64 [40,200]",
      "fortran I32 [30,40]",
      "scalar F32 []",
      "empty F32 [0]",
    ],
  );
  assert.match(safetensors(["inspect", fixture("one.npy")]).stdout, /arr_0 .*F32 .*2, 3/);
  const stats = safetensors(["stats", fixture("compressed.npz")]);
  assert.equal(stats.code, 0, stats.stderr);
  assert.match(stats.stdout, /long .*1999/);
});

test("check tells NumPy files that are valid, broken, and of types it cannot read", () => {
  const run = safetensors(["check", fixture("dtypes.npz"), fixture("two.npy"), fixture("objects.npz")]);
  assert.equal(run.code, 1);
  assert.match(run.stdout, /dtypes\.npz: valid {2}numpy, 13 tensors/);
  assert.match(run.stdout, /two\.npy: invalid\n {2}TRAILING_BYTES: array "arr_0"/);
  assert.match(
    run.stdout,
    /objects\.npz: could not be checked\n {2}UNSUPPORTED: array "objects": .*never run/,
  );
});

test("show reads one array, whatever the others are, and writes NumPy's own files", () => {
  assert.match(
    safetensors(["show", fixture("compressed.npz"), "long[999, -3:]"]).stdout,
    /\[1999, 1999, 1999\]/,
  );
  assert.equal(safetensors(["show", fixture("objects.npz"), "fine"]).code, 0);
  const objects = safetensors(["show", fixture("objects.npz"), "objects"]);
  assert.equal(objects.code, 2);
  assert.match(objects.stderr, /never run/);
  const { stdout } = spawnSync(process.execPath, [BIN, "show", fixture("one.npy"), "arr_0", "--npy"]);
  assert.deepEqual(stdout, readFileSync(fixture("one.npy")));
});
