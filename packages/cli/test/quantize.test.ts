import assert from "node:assert/strict";
import { cpSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { namesIn, type Run, safetensors, startSafetensors, temporaryFolder } from "./command.ts";

const LLAMA = fileURLToPath(new URL("../../../safetensors/test/fixtures/quant/llama/", import.meta.url));
const MODEL = join(LLAMA, "model");
const STATISTICS = ["--statistics", join(LLAMA, "statistics.safetensors")];

/** The JSON that a run prints, which ends with this code. */
function json(args: readonly string[], code = 0): ReturnType<typeof JSON.parse> {
  const run = safetensors([...args, "--json"]);
  assert.equal(run.code, code, run.stdout + run.stderr);
  return JSON.parse(run.stdout);
}

function refused(args: readonly string[], code: number, message: RegExp): Run {
  const run = safetensors(args);
  assert.equal(run.code, code, run.stdout + run.stderr);
  assert.match(run.stderr, message);
  return run;
}

for (const scheme of [
  "fp8-dynamic",
  "gptq-int4-g32",
  "awq-int4-g32",
  "ct-int4-g32",
  "ct-int8",
  "mxfp4",
  "nvfp4",
  "nf4",
]) {
  test(`${scheme}: a dry run says what is written, and the model has the parameters it had`, (t) => {
    const folder = temporaryFolder(t);
    const output = join(folder, scheme);
    const args = ["quantize", MODEL, output, "--scheme", scheme];
    const { dryRun, seconds: _, weights: none, ...told } = json([...args, "--dry-run"]);
    assert.deepEqual([dryRun, none, namesIn(folder)], [true, [], []]);
    const { dryRun: _dry, seconds: _seconds, weights, ...done } = json(args);
    assert.deepEqual(done, told);
    assert.equal(weights.length, 7);
    assert.equal(statSync(done.files[0].output).size, done.files[0].outputBytes);
    assert.equal(json(["inspect", output]).parameters, json(["inspect", MODEL]).parameters);
    assert.equal(safetensors(["check", output]).code, 0);
  });
}

test("from shards to shards and back: the configuration is the old one, and diff tells the errors", (t) => {
  const folder = temporaryFolder(t);
  const [made, dense] = [join(folder, "gptq"), join(folder, "dense")];
  const args = ["quantize", MODEL, made, "--scheme", "gptq-int4-g32", ...STATISTICS, "--with-files"];
  const { weights } = json([...args, "--max-shard-size", "5KB"]);
  const files = namesIn(made).filter((name) => name.endsWith(".safetensors"));
  assert.ok(files.length > 1);
  // A file of several lacks parts of layers, and is valid.
  for (const file of files) assert.equal(safetensors(["check", join(made, file)]).code, 0);
  const { tensors } = json(["diff", made, MODEL, "--dequantize"], 1);
  const errors = new Map<string, number>(
    tensors.map(({ name, values }: { name: string; values: { relativeError: number } }) => [
      name,
      values.relativeError,
    ]),
  );
  for (const { name, error, outputError } of weights) {
    assert.ok(Math.abs(errors.get(name)! - error) < 1e-6, name);
    assert.ok(outputError < 1);
  }
  assert.equal(json(["dequantize", made, dense, "--with-files"]).dequantized, 7);
  assert.deepEqual(namesIn(dense), ["config.json", "generation_config.json", "model.safetensors"]);
  const config = (place: string): string => readFileSync(join(place, "config.json"), "utf8");
  assert.equal(config(dense), config(MODEL));
  json(["dequantize", made, join(folder, "f32"), "--dtype", "F32"]);
  assert.equal(config(join(folder, "f32")), config(MODEL).replace("bfloat16", "float32"));
});

test("the relative error is NumPy's", () => {
  const args = ["diff", join(LLAMA, "down_proj-fp8.safetensors"), MODEL, "--names", "*.down_proj.*"];
  const { tensors } = json([...args, "--dequantize", "--no-metadata"], 1);
  const { relative_error: expected } = JSON.parse(readFileSync(join(LLAMA, "expected.json"), "utf8"));
  assert.ok(Math.abs(tensors[0].values.relativeError / expected - 1) < 1e-9);
});

test("in its own place only with --replace, and then with its configuration", (t) => {
  const model = join(temporaryFolder(t), "model");
  cpSync(MODEL, model, { recursive: true });
  const args = ["quantize", model, model, "--scheme", "gptq-int4-g32"];
  refused(args, 2, /is the input itself.*\n.*--replace/);
  json([...args, "--replace"]);
  assert.equal(safetensors(["check", model]).code, 0);
  refused(["quantize", model, join(model, "x"), "--scheme", "nf4"], 2, /quantized already.*dequantize/);
  const { removed } = json(["dequantize", model, model, "--replace"]);
  assert.deepEqual(removed, [join(model, "quantize_config.json")]);
  assert.deepEqual(namesIn(model), ["config.json", "generation_config.json", "model.safetensors"]);
});

test("names and exclusions choose, and what chooses nothing is a mistake", (t) => {
  const folder = temporaryFolder(t);
  const args = ["quantize", MODEL, join(folder, "out"), "--scheme", "nf4"];
  const { weights, skipped } = json([...args, "--exclude", "*.down_proj.*", "--names", "*.mlp.*"]);
  assert.equal(weights.length, 2);
  assert.equal(skipped["model.layers.0.mlp.down_proj.weight"], "is excluded");
  refused([...args, "--names", "none*"], 2, /no tensor has a name like none\*/);
  refused([...args, "--exclude", "none*"], 2, /no tensor has a name like none\*/);
  refused(
    [...args, "--names", "*q_proj*"],
    2,
    /nothing to quantize as nf4.*q_proj\.weight: is run as one with/,
  );
});

test("what cannot be done is refused before any work, and leaves nothing", (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, "out.safetensors");
  const to = (scheme: string, ...more: string[]) => ["quantize", MODEL, file, "--scheme", scheme, ...more];
  refused(to("none"), 2, /"none" is no scheme.*fp8-dynamic/);
  refused(to("gptq-int4-g60"), 2, /32 inputs are no multiple of the group of 60/);
  refused(to("nf4", ...STATISTICS), 2, /no use for statistics/);
  refused(to("gptq-int4-g32", "--act-order"), 2, /takes statistics/);
  refused(
    to("gptq-int4-g32", ...STATISTICS, "--names", "lm_head*"),
    2,
    /no calibration statistics for "lm_head"/,
  );
  refused(to("nf4", "--max-shard-size", "1MB"), 2, /is one file, which cannot be split/);
  refused(to("nf4", "--threads", "0"), 2, /whole number from 1/);
  refused(["dequantize", MODEL, file], 2, /no quantized weights/);
  assert.equal(json(to("none"), 2).error.code, "UNSUPPORTED");
  assert.deepEqual(namesIn(folder), []);
});

test("a run that is killed is taken up, and the result is the same", async (t) => {
  const folder = temporaryFolder(t);
  const args = [
    "quantize",
    MODEL,
    join(folder, "out.safetensors"),
    "--scheme",
    "gptq-int4-g32",
    ...STATISTICS,
  ];
  const child = startSafetensors([...args, "--resume", "--threads", "1"]);
  const ended = new Promise((resolve) => child.on("close", resolve));
  const hasResult = (): boolean => {
    const list = namesIn(folder).find((name) => name.endsWith(".tmp.json"));
    return list !== undefined && statSync(join(folder, list), { throwIfNoEntry: false })!.size > 200;
  };
  for (let waited = 0; waited < 5000 && !hasResult(); waited++) await wait(1);
  child.kill("SIGKILL");
  await ended;
  json([...args, "--resume", "--threads", "1"]);
  assert.deepEqual(namesIn(folder), ["out.safetensors"]);
  const taken = readFileSync(join(folder, "out.safetensors"));
  json(args);
  assert.deepEqual(readFileSync(join(folder, "out.safetensors")), taken);
});
