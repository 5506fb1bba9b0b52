import assert from "node:assert/strict";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { openPath } from "../../src/node/open-path.ts";
import {
  checkQuantizable,
  type QuantizeWeightsOptions,
  quantizeWeights,
} from "../../src/node/quantize/quantize-weights.ts";
import { saveCheckpoint } from "../../src/node/write/save-checkpoint.ts";
import { dequantized } from "../../src/quant/dequantize.ts";
import { findQuantized } from "../../src/quant/find.ts";
import { CalibrationStatistics } from "../../src/quant/make/calibrated/statistics.ts";
import { quantizedConfig } from "../../src/quant/make/config.ts";
import { fixturePath } from "../fixtures.ts";
import { handMade, raises, temporaryFolder } from "../support.ts";

const LAYER = "model.layers.0.";
let model: Checkpoint;
let file: Checkpoint;
let statistics: CalibrationStatistics;

before(async () => {
  model = await openPath(fixturePath("quant/llama/model"));
  file = await openPath(fixturePath("quant/llama/statistics.safetensors"));
  statistics = new CalibrationStatistics(file);
});
after(() => Promise.all([model.close(), file.close()]));

const weightsOf = (checkpoint: Checkpoint): string[] =>
  [...checkpoint.keys()].filter((name) => name.endsWith("_proj.weight"));

function optionsOf(scheme: string, more: Partial<QuantizeWeightsOptions> = {}): QuantizeWeightsOptions {
  const weights = more.weights ?? weightsOf(model);
  const quantized = weights.map((name) => name.replace(/\.weight$/, ""));
  const { quantizationConfig: config } = quantizedConfig({
    scheme,
    quantized,
    dense: [],
    dtype: "BF16",
    producer: "test",
  });
  return { weights, scheme, config, modelType: "llama", threads: 0, ...more };
}

/** Quantises the model, and gives the bytes of all tensors. */
async function bytesOf(folder: string, options: QuantizeWeightsOptions): Promise<Map<string, Uint8Array>> {
  const { tensors, close } = await quantizeWeights(folder, model, options);
  const bytes = new Map<string, Uint8Array>();
  for (const [name, tensor] of tensors) bytes.set(name, await tensor.bytes());
  await close(true);
  return bytes;
}

/** Stops after some results, which stay. */
async function stopped(folder: string, options: QuantizeWeightsOptions, results: number): Promise<void> {
  const controller = new AbortController();
  let count = 0;
  const onProgress = (): void => {
    if (++count === results) controller.abort();
  };
  const { signal } = controller;
  await assert.rejects(quantizeWeights(folder, model, { ...options, signal, onProgress }), {
    name: "AbortError",
  });
}

test("however many threads there are, and also if it was stopped, the bytes are the same", async () => {
  const folder = temporaryFolder();
  const options = optionsOf("gptq-int4-g32", { statistics, resume: "work" });
  const whole = await bytesOf(folder, options);
  assert.deepEqual(readdirSync(folder), []);
  await stopped(folder, options, 3);
  assert.equal(readdirSync(folder).length, 2);
  const { reused, close } = await quantizeWeights(folder, model, { ...options, threads: 2 });
  assert.equal(reused, 3);
  // Nothing was saved, so that all of it stays.
  await close(false);
  const { reused: all, close: end } = await quantizeWeights(folder, model, options);
  assert.equal(all, options.weights.length);
  await end(false);
  assert.deepEqual(await bytesOf(folder, options), whole);
  assert.deepEqual(readdirSync(folder), []);
});

test("what is stopped without a name leaves nothing, nor the folders that were made", async () => {
  const folder = temporaryFolder();
  await stopped(join(folder, "new/output"), optionsOf("fp8-dynamic"), 2);
  assert.deepEqual(readdirSync(folder), []);
});

test("NVFP4's weights that are run as one share a global scale", async () => {
  const bytes = await bytesOf(temporaryFolder(), optionsOf("nvfp4"));
  const scaleOf = (module: string) => bytes.get(`${LAYER}${module}.weight_global_scale`);
  assert.deepEqual(scaleOf("self_attn.q_proj"), scaleOf("self_attn.v_proj"));
  assert.deepEqual(scaleOf("mlp.gate_proj"), scaleOf("mlp.up_proj"));
  assert.notDeepEqual(scaleOf("mlp.up_proj"), scaleOf("mlp.down_proj"));
});

test("AWQ scales norms and weights so that they do the same together, in any number of threads", async () => {
  const folder = temporaryFolder();
  const options = optionsOf("awq-int4-g32", { statistics, resume: "work" });
  const { tensors, reports, close } = await quantizeWeights(folder, model, options);
  assert.equal(reports.length, 7);
  assert.ok(reports.every(({ error }) => error > 0.01 && error < 0.15));
  const path = join(folder, "awq.safetensors");
  await saveCheckpoint(path, tensors);
  await close(true);
  await using stored = await openPath(path);
  const configs = { "config.json": { quantization_config: options.config } };
  const dense = dequantized(stored, await findQuantized(stored, { configs }));
  const norm = `${LAYER}input_layernorm.weight`;
  const [before, after] = [await model.get(norm).toFloat32(), await dense.get(norm).toFloat32()];
  assert.notDeepEqual(after, before);
  for (const projection of ["q_proj", "k_proj"]) {
    const name = `${LAYER}self_attn.${projection}.weight`;
    const [then, now] = [await model.get(name).toFloat32(), await dense.get(name).toFloat32()];
    const exact = then.map((value, i) => value * before[i % 32]!);
    const error = Math.hypot(...exact.map((value, i) => now[i]! * after[i % 32]! - value));
    assert.ok(error / Math.hypot(...exact) < 0.15, `${projection}: ${error / Math.hypot(...exact)}`);
  }
  const bytes = new Map<string, Uint8Array>();
  for (const name of tensors.keys()) bytes.set(name, await stored.get(name).bytes());
  assert.deepEqual(await bytesOf(folder, { ...options, threads: 2 }), bytes);
});
test("what cannot be done is told before any work", () => {
  const check = (more: Partial<QuantizeWeightsOptions>, scheme = "gptq-int4-g32") => {
    return () => checkQuantizable(model, optionsOf(scheme, more));
  };
  const awq = "awq-int4-g32";
  assert.doesNotThrow(check({ statistics, actOrder: true, damp: 0.1 }));
  assert.throws(check({ statistics }, "nf4"), raises("UNSUPPORTED", /"nf4" has no use for statistics/));
  assert.throws(check({ actOrder: true }), raises("UNSUPPORTED", /GPTQ, which takes statistics/));
  assert.throws(check({ statistics, damp: 0.1 }, awq), raises("UNSUPPORTED", /GPTQ, which takes statistics/));
  assert.throws(check({ statistics, modelType: undefined }, awq), raises("UNSUPPORTED", /model_type/));
  assert.throws(check({ statistics, modelType: "bert" }, awq), raises("UNSUPPORTED", /not for "bert"/));
  assert.throws(check({ weights: ["none.weight"] }), raises("TENSOR_NOT_FOUND", /none/));
  assert.throws(
    check({ statistics, weights: ["lm_head.weight"] }),
    raises("TENSOR_NOT_FOUND", /no calibration statistics for "lm_head"; collect them/),
  );
  assert.throws(
    check({ statistics, weights: ["lm_head.weight"] }, awq),
    raises("UNSUPPORTED", /no layers of a "llama" model/),
  );
});

/** A checkpoint of one weight with 32 inputs, in a file. */
async function oneWeight(name: string, values: Float32Array, dtype = "F32"): Promise<Checkpoint> {
  const path = join(temporaryFolder(), "one.safetensors");
  const data = new Uint8Array(values.buffer);
  writeFileSync(path, handMade({ [name]: { dtype, shape: [values.length / 32, 32], data } }));
  return openPath(path);
}

test("a NaN is told of by tensor and element, and nothing is left", async () => {
  const name = `${LAYER}mlp.up_proj.weight`;
  await using checkpoint = await oneWeight(name, new Float32Array(64).fill(1).with(35, Number.NaN));
  const folder = temporaryFolder();
  await assert.rejects(
    quantizeWeights(folder, checkpoint, optionsOf("gptq-int4-g32", { weights: [name], statistics })),
    raises("UNSUPPORTED", /up_proj\.weight".*element \[1, 3\].* NaN/, { tensor: name }),
  );
  assert.deepEqual(readdirSync(folder), []);
});

test("statistics of another size are refused, and integers as weights", async () => {
  const name = `${LAYER}mlp.down_proj.weight`;
  await using checkpoint = await oneWeight(name, new Float32Array(64));
  assert.throws(
    () => checkQuantizable(checkpoint, optionsOf("gptq-int4-g32", { weights: [name], statistics })),
    raises("SIZE_MISMATCH", /of 64 inputs, and its weight has 32/),
  );
  await using integers = await oneWeight(name, new Float32Array(64), "I32");
  assert.throws(
    () => checkQuantizable(integers, optionsOf("nf4", { weights: [name] })),
    raises("UNSUPPORTED", /of I32/),
  );
});

test("an expert without statistics is rounded, and the report says so", async () => {
  const name = `${LAYER}mlp.experts.7.up_proj.weight`;
  await using checkpoint = await oneWeight(
    name,
    Float32Array.from({ length: 256 }, (_, i) => Math.sin(i)),
  );
  const { reports, close } = await quantizeWeights(
    temporaryFolder(),
    checkpoint,
    optionsOf("gptq-int4-g32", { weights: [name], statistics }),
  );
  await close(true);
  assert.match(reports[0]!.note!, /no statistics for it: rounded to nearest/);
});
