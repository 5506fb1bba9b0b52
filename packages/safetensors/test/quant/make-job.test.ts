import assert from "node:assert/strict";
import { test } from "node:test";
import { quantizedConfig } from "../../src/quant/make/config.ts";
import { type QuantizeJob, runAwqSearch, runQuantizeJob } from "../../src/quant/make/job.ts";
import { raises } from "../support.ts";

const NAME = "layers.0.up_proj.weight";

function jobOf(scheme: string, shape: readonly number[], values: Float32Array): QuantizeJob {
  const producer = "test";
  const { quantizationConfig: config } = quantizedConfig({
    scheme,
    quantized: ["layers.0.up_proj"],
    dense: [],
    dtype: "F32",
    producer,
  });
  return { kind: "quantize", name: NAME, shape, dtype: "F32", values, scheme, options: {}, config };
}

const waves = (length: number): Float32Array => Float32Array.from({ length }, (_, i) => Math.sin(i * 0.7));

test("the error is that of the values that are read back", async () => {
  // With a scale of 1, 0.3 becomes 0.3125.
  const { parts, error } = await runQuantizeJob(jobOf("fp8-tensor", [1, 2], Float32Array.of(448, 0.3)));
  assert.deepEqual(
    parts.map(([name]) => name),
    [NAME, `${NAME}_scale`],
  );
  const exact = Math.fround(0.3);
  assert.ok(Math.abs(error - (0.3125 - exact) / Math.hypot(448, exact)) < 1e-12);
  const zeros = await runQuantizeJob(jobOf("fp8-tensor", [1, 2], new Float32Array(2)));
  assert.equal(zeros.error, 0);
});

test("outputs of rows are divided before, inputs of columns multiplied, and the error knows", async () => {
  const job = jobOf("awq-int4-g32", [8, 32], waves(256));
  const plain = await runQuantizeJob(job);
  const rowScale = new Float32Array(8).fill(4);
  const scale = new Float32Array(32).fill(4);
  const scaled = await runQuantizeJob({ ...job, rowScale, calibration: { kind: "awq", scale } });
  assert.deepEqual(scaled.parts, plain.parts);
  assert.equal(scaled.error, plain.error);
});

test("GPTQ tells what it gains, and its note", async () => {
  const xtx = new Float32Array(32 * 32).map((_, i) => (i % 33 === 0 ? 2 : 1));
  const job = jobOf("ct-int4-g32", [8, 32], waves(256));
  const { error, outputError } = await runQuantizeJob({ ...job, calibration: { kind: "gptq", xtx } });
  assert.ok(outputError! > 0 && outputError! < 1, String(outputError));
  assert.ok(error > 0 && error < 0.3);
  const none = await runQuantizeJob({
    ...job,
    calibration: { kind: "gptq", xtx: xtx.map(() => Number.MIN_VALUE) },
  });
  assert.equal(none.error > 0, true);
});

test("calibration is refused where a scheme has no use for it, and what has no code by name", async () => {
  const gptq = { kind: "gptq", xtx: new Float32Array(1024) } as const;
  const awq = { kind: "awq", scale: new Float32Array(32).fill(1) } as const;
  for (const [scheme, calibration] of [
    ["nf4", gptq],
    ["awq-int4-g32", gptq],
    ["gptq-int4-g32", awq],
  ] as const) {
    const job = jobOf(scheme, [8, 32], waves(256));
    await assert.rejects(runQuantizeJob({ ...job, calibration }), raises("UNSUPPORTED", /has no use for/));
  }
  const broken = waves(256).with(40, Number.NEGATIVE_INFINITY);
  const details = { tensor: NAME };
  for (const calibration of [undefined, gptq]) {
    await assert.rejects(
      runQuantizeJob({ ...jobOf("gptq-int4-g32", [8, 32], broken), calibration }),
      raises("UNSUPPORTED", /up_proj\.weight".*\[1, 8\] .*is -Infinity/, details),
    );
  }
  const search = { kind: "awq-search", scheme: "awq-int4-g32", xtx: gptq.xtx, absMean: awq.scale } as const;
  assert.throws(
    () => runAwqSearch({ ...search, names: ["good.weight", NAME], weights: [waves(256), broken] }),
    raises("UNSUPPORTED", /up_proj\.weight"/, details),
  );
});

test("what the configuration says otherwise than it was made is refused", async () => {
  const job = jobOf("gptq-int4-g32", [8, 32], waves(256));
  const { config } = jobOf("gptq-int8-g32", [8, 32], waves(256));
  await assert.rejects(
    runQuantizeJob({ ...job, config }),
    raises("INVALID_QUANTIZATION", /gptq-int4-g32 made/),
  );
});
