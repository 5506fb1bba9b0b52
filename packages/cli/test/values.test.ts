import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { memorySink, save, type TensorData } from "safetensors.js/save";
import { Statistics } from "../src/statistics.ts";
import { BIN, safetensors, temporaryFolder } from "./command.ts";

async function fileOf(t: TestContext, tensors: Record<string, TensorData>): Promise<string> {
  const sink = memorySink();
  await save(sink, tensors);
  const path = join(temporaryFolder(t), "model.safetensors");
  writeFileSync(path, sink.bytes());
  return path;
}

const counting: TensorData = {
  dtype: "F32",
  shape: [3, 4],
  data: Float32Array.from({ length: 12 }, (_, i) => i / 2),
};

test("show prints a tensor, or the part of it that an index chooses", async (t) => {
  const path = await fileOf(t, {
    w: counting,
    "w[0]": { dtype: "I64", shape: [], data: BigInt64Array.of(7n) },
  });
  const whole = safetensors(["show", path, "w"]);
  assert.equal(whole.stderr, "");
  assert.equal(whole.code, 0);
  assert.equal(
    whole.stdout,
    "w  F32  [3, 4]\n[\n  [0, 0.5, 1, 1.5],\n  [2, 2.5, 3, 3.5],\n  [4, 4.5, 5, 5.5]\n]\n",
  );
  assert.match(safetensors(["show", path, "w[1, ::-2]"]).stdout, /\[2\]\n\[3\.5, 2\.5\]\n$/);
  assert.match(
    safetensors(["show", path, "w[[2, 0], None, 1]"]).stdout,
    /\[2, 1\]\n\[\n {2}\[4\.5\],\n {2}\[0\.5\]\n\]/,
  );
  // A name that looks like an index is a name first.
  assert.match(safetensors(["show", path, "w[0]"]).stdout, /I64 {2}\[\]\n7\n$/);
});

test("show gives values to programs: JSON, NumPy files, bytes", async (t) => {
  const odd: TensorData = { dtype: "F64", shape: [3], data: Float64Array.of(Number.NaN, -Infinity, 0.1) };
  const wide: TensorData = { dtype: "U64", shape: [2], data: BigUint64Array.of(5n, 2n ** 64n - 1n) };
  const path = await fileOf(t, { w: counting, odd, wide });
  const json = (name: string): unknown => JSON.parse(safetensors(["show", path, name, "--json"]).stdout);
  assert.deepEqual(json("w[0]"), { name: "w", dtype: "F32", shape: [4], values: [0, 0.5, 1, 1.5] });
  assert.deepEqual(json("odd"), { name: "odd", dtype: "F64", shape: [3], values: ["NaN", "-inf", 0.1] });
  assert.deepEqual(json("wide"), {
    name: "wide",
    dtype: "U64",
    shape: [2],
    values: [5, "18446744073709551615"],
  });

  const raw = spawnSync(process.execPath, [BIN, "show", path, "w[:, 0]", "--raw"]).stdout;
  assert.deepEqual([...new Float32Array(new Uint8Array(raw).buffer)], [0, 2, 4]);
  const npy = spawnSync(process.execPath, [BIN, "show", path, "w[:, 0]", "--npy"]).stdout;
  assert.equal(npy.subarray(0, 8).toString("latin1"), "\x93NUMPY\x01\x00");
  const length = 10 + npy.readUInt16LE(8);
  assert.equal(length % 64, 0);
  assert.match(
    npy.toString("latin1", 10, length),
    /^\{'descr': '<f4', 'fortran_order': False, 'shape': \(3,\), \} *\n$/,
  );
  assert.deepEqual(npy.subarray(length), raw);
});

test("show shortens what is long, unless all is asked for", async (t) => {
  const path = await fileOf(t, { w: { dtype: "U8", shape: [2000], data: new Uint8Array(2000).fill(1) } });
  assert.match(safetensors(["show", path, "w"]).stdout, /\[1, 1, 1, …, 1, 1, 1\]/);
  assert.equal(safetensors(["show", path, "w", "--all"]).stdout.match(/1/g)!.length, 2000);
});

test("show says what is wrong with a name or an index", async (t) => {
  const path = await fileOf(t, { w: counting });
  for (const [name, code, message] of [
    ["v", 2, /TENSOR_NOT_FOUND: .*"v"/],
    ["w[3]", 1, /OUT_OF_RANGE: index 3 is outside dimension 0/],
    ["w[0, 0, 0]", 1, /INVALID_SLICE: 3 items/],
    ["w[x]", 1, /INVALID_SLICE: "x" cannot be read as an index/],
  ] as const) {
    const run = safetensors(["show", path, name]);
    assert.match(run.stderr, message);
    assert.equal(run.code, code, name);
  }
});

test("stats shows what the values are like, and fails on odd ones if asked", async (t) => {
  const odd = Float32Array.of(1, Number.NaN, Infinity, 0);
  const path = await fileOf(t, { w: counting, odd: { dtype: "F32", shape: [4], data: odd } });
  const { code, stdout } = safetensors(["stats", path, "--json"]);
  assert.equal(code, 0);
  const [first, second] = JSON.parse(stdout).tensors;
  assert.deepEqual(
    [first.name, first.count, first.nan, first.infinite, first.zero, first.min, first.max, first.mean],
    ["odd", 4, 1, 1, 1, 0, 1, 0.5],
  );
  assert.deepEqual([second.name, second.min, second.max, second.mean], ["w", 0, 5.5, 2.75]);
  assert.ok(Math.abs(second.std - 1.7260267) < 1e-6);
  assert.equal(
    second.histogram.reduce((sum: number, count: number) => sum + count, 0),
    12,
  );

  const text = safetensors(["stats", path]).stdout;
  assert.match(text, /odd .*1 NaN, 1 infinite/);
  assert.equal(safetensors(["stats", path, "--fail-on-nan", "--quiet"]).code, 1);
  assert.equal(safetensors(["stats", path, "--fail-on-nan", "--names", "w"]).code, 0);
});

test("statistics of pieces are those of the whole, whatever the scale", () => {
  for (const scale of [1, 1e-20, 1e30]) {
    const values = Float64Array.from({ length: 10_000 }, (_, i) => Math.sin(i * 12.9898) * scale + 3 * scale);
    const inPieces = new Statistics();
    for (let at = 0; at < values.length; at += 777) inPieces.add(values.subarray(at, at + 777));
    const { mean, std, min, max, histogram } = inPieces.summary;
    const plainMean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const plainStd = Math.sqrt(
      values.reduce((sum, value) => sum + (value - plainMean) ** 2, 0) / values.length,
    );
    assert.ok(Math.abs(mean! - plainMean) < 1e-9 * scale);
    assert.ok(Math.abs(std! - plainStd) < 1e-9 * scale);
    assert.deepEqual([min, max], [Math.min(...values), Math.max(...values)]);
    assert.equal(
      histogram.reduce((sum, count) => sum + count, 0),
      values.length,
    );
  }
});
