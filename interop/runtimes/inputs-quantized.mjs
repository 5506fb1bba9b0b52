import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { open } from "safetensors.js";
import { saveFile } from "safetensors.js/node";
import { quantizedConfig, quantizerOf } from "safetensors.js/quantize";
import { sha256 } from "../python.mjs";
import { mulberry32 } from "../steps/mutate.mjs";
import { AWQ_PARTS, GPTQ_CASES, GPTQ_PARTS } from "./quantized.mjs";
import { GROUPS, PAIRS } from "./quantized-fixtures.mjs";

const SCHEME = "gptq-int4-g32";
const LAYERS = 8;
const [HIDDEN, INTERMEDIATE] = [128, 512];

/** What the checks of quantised weights must find by what the originals wrote into fixtures/quant: check -> value. */
export async function expectedOfQuantized(folder) {
  const dense = expectedDense(folder);
  const made = json(join(folder, "make", "expected.json"));
  return {
    "backend of the kernels": "wasm",
    "dense weights": dense,
    "dense weights, plain kernels": dense,
    "weights quantised": made.map(({ scheme, digests }) => [scheme, digests]),
    "GPTQ and AWQ": await expectedCodes(join(folder, "calibrated.safetensors")),
  };
}

function expectedDense(folder) {
  const all = {};
  for (const group of GROUPS) {
    for (const [at, { dense }] of json(join(folder, group, "expected.json")).entries()) {
      all[`${group} ${at}`] = Object.fromEntries(dense.map(({ name, sha256 }) => [name, sha256]));
    }
  }
  for (const name of PAIRS) all[name] = json(join(folder, `${name}.json`)).dense;
  for (const [name, weights] of Object.entries(json(join(folder, "others.json")))) {
    for (const [weight, { sha256 }] of Object.entries(weights)) {
      if (sha256) all[`${name} ${weight}`] = { [weight]: sha256 };
    }
  }
  return all;
}

async function expectedCodes(path) {
  const golden = await open(readFileSync(path));
  const names = Object.keys(GPTQ_CASES).flatMap((name) => GPTQ_PARTS.map((part) => `${name}.${part}`));
  const expected = {};
  for (const name of [...names, ...AWQ_PARTS.map((part) => `awq.${part}`)])
    expected[name] = sha256(await golden.get(name).bytes());
  return expected;
}

/** Writes a small model, of which all linear layers but the head are quantised. */
export async function makeQuantizedModel(folder) {
  mkdirSync(folder);
  const random = mulberry32(5);
  const quantizer = quantizerOf(SCHEME);
  const tensors = {};
  const quantized = [];
  const linear = (module, ...shape) => {
    const values = Float32Array.from({ length: shape[0] * shape[1] }, () => random() - 0.5);
    for (const [role, { dtype, shape: size, bytes }] of quantizer.quantize(values, shape, "F16"))
      tensors[`${module}.${role}`] = { dtype, shape: size, data: bytes };
    quantized.push(module);
  };
  const dense = (name, ...shape) => {
    const length = shape.reduce((product, size) => product * size, 2);
    tensors[name] = { dtype: "F16", shape, data: new Uint8Array(length).fill(1) };
  };
  dense("model.embed_tokens.weight", 64, HIDDEN);
  for (let layer = 0; layer < LAYERS; layer++) {
    const at = `model.layers.${layer}`;
    for (const name of ["q", "k", "v", "o"]) linear(`${at}.self_attn.${name}_proj`, HIDDEN, HIDDEN);
    for (const name of ["gate", "up"]) linear(`${at}.mlp.${name}_proj`, INTERMEDIATE, HIDDEN);
    linear(`${at}.mlp.down_proj`, HIDDEN, INTERMEDIATE);
    for (const name of ["input", "post_attention"]) dense(`${at}.${name}_layernorm.weight`, HIDDEN);
  }
  dense("model.norm.weight", HIDDEN);
  dense("lm_head.weight", 64, HIDDEN);
  const model = { scheme: SCHEME, quantized, dense: ["lm_head"], dtype: "F16", producer: "safetensors.js" };
  const config = {
    model_type: "llama",
    hidden_size: HIDDEN,
    intermediate_size: INTERMEDIATE,
    num_hidden_layers: LAYERS,
    num_attention_heads: 4,
    num_key_value_heads: 4,
    head_dim: HIDDEN / 4,
    tie_word_embeddings: false,
    quantization_config: quantizedConfig(model).quantizationConfig,
  };
  await saveFile(join(folder, "model.safetensors"), tensors);
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
}

function json(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}
