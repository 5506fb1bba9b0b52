import { Checkpoint, open } from "safetensors.js";
import { dequantized, findQuantized } from "safetensors.js/quant";
import { download, sha256 } from "./describe.mjs";

/** Folders of fixtures/quant with many small checkpoints in one file: see make_quant_ct_fixtures.py. */
export const GROUPS = ["ct", "fp8", "modelopt"];

/** Fixtures of two files: the tensors, and the configuration with the digests of the dense weights. */
export const PAIRS = [
  ...["gptq", "gptq_v2", "act-order"].map((name) => `gptq/${name}`),
  "awq/gemm",
  ...["gemv", "gemv_fast"].flatMap((kind) => [32, 64, 128].map((group) => `awq/${kind}-${group}`)),
];

/**
 * SHA-256 of all dense weights of the fixtures: those that the originals make to the bit, and those of ours where they
 * round otherwise.
 */
export async function denseWeights({ url }, options) {
  const folder = `${url}quant/`;
  const json = async (path) => (await fetch(`${folder}${path}`)).json();
  const file = async (path) => open(await download(`${folder}${path}`));
  const [exact, ours] = [{}, {}];
  for (const group of GROUPS) {
    const cases = await json(`${group}/expected.json`);
    const stored = await file(`${group}/stored.safetensors`);
    for (const [at, { configs, dense }] of cases.entries()) {
      const checkpoint = caseOf(stored, at);
      const names = dense.map(({ name }) => name);
      exact[`${group} ${at}`] = await digests(checkpoint, configs, names, options);
    }
  }
  for (const name of PAIRS) {
    const { config, dense } = await json(`${name}.json`);
    const configs = { "config.json": { quantization_config: config } };
    exact[name] = await digests(await file(`${name}.safetensors`), configs, Object.keys(dense), options);
  }
  for (const [name, weights] of Object.entries(await json("others.json"))) {
    const checkpoint = await file(`${name}/model.safetensors`);
    const configs = { "config.json": await json(`${name}/config.json`) };
    for (const [weight, { dtype, sha256 }] of Object.entries(weights)) {
      const found = await digests(checkpoint, configs, [weight], { ...options, dtype });
      (sha256 ? exact : ours)[`${name} ${weight}`] = found;
    }
  }
  return { exact, ours };
}

/** The tensors of one of the checkpoints that lie in a file, whose names begin with its number. */
function caseOf(stored, at) {
  const prefix = `${at}/`;
  const views = new Map();
  for (const { name, view } of stored)
    if (name.startsWith(prefix)) views.set(name.slice(prefix.length), view);
  const tensors = { size: views.size, names: () => views.keys(), find: (name) => views.get(name) };
  return new Checkpoint({ format: "safetensors", tensors });
}

async function digests(checkpoint, configs, names, options) {
  const quantization = await findQuantized(checkpoint, { configs });
  const dense = dequantized(checkpoint, quantization, options);
  const found = {};
  for (const name of names) found[name] = await sha256(await dense.get(name).bytes());
  return found;
}
