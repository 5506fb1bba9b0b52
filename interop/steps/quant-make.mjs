import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { open } from "safetensors.js";
import { openPath, saveFile } from "safetensors.js/node";
import { dequantized, findQuantized, quantConfigOf } from "safetensors.js/quant";
import {
  chooseWeights,
  misfitReason,
  nvfp4GlobalScale,
  quantizedConfig,
  quantizerOf,
  sharesScale,
  usualReason,
} from "safetensors.js/quantize";
import { memorySink, save } from "safetensors.js/save";
import { runPython } from "../python.mjs";

const FIXTURES = fileURLToPath(
  new URL("../../packages/safetensors/test/fixtures/quant/make/", import.meta.url),
);

/** Schemes that a whole model is made in. */
const SCHEMES = [
  "fp8-dynamic",
  "fp8-tensor",
  "fp8-block",
  "gptq-int4-g128",
  "gptq-int8-g32-asym",
  "awq-int4-g128",
  "awq-int4-g32",
  "w4a16",
  "ct-int4-g32-asym",
  "ct-int8",
  "mxfp4",
  "nvfp4",
  "nf4",
];

/** The relative error of weights of 512 by 2048, by Frobenius norms: normal, and Student's t with 5 degrees of freedom. */
const ERRORS = [
  ["ct-int8", {}, 0.0082, 0.0178],
  ["ct-int4", {}, 0.14, 0.296],
  ["ct-int4-g128", {}, 0.1108, 0.1627],
  ["ct-int4-g128", { symmetric: false }, 0.1006, 0.1333],
  ["ct-int4-g64", {}, 0.1028, 0.1396],
  ["ct-int4-g32", {}, 0.0948, 0.1198],
  ["ct-int4-g32", { symmetric: false }, 0.0807, 0.093],
  ["ct-int3-g128", {}, 0.237, 0.339],
  ["ct-int3-g128", { symmetric: false }, 0.216, 0.284],
  ["ct-int2-g64", { symmetric: false }, 0.457, 0.522],
  ["gptq-int4-g128", {}, 0.1108, 0.1627],
  ["gptq-int4-g128", { symmetric: false }, 0.1006, 0.1333],
  ["gptq-int3-g128", {}, 0.237, 0.339],
  ["awq-int4-g128", {}, 0.1006, 0.1333],
  ["fp8-dynamic", {}, 0.0265, 0.0265],
  ["fp8-tensor", {}, 0.0265, 0.0265],
  ["fp8-block", {}, 0.0265, 0.0265],
  ["nvfp4", {}, 0.095, 0.0923],
  ["nf4", {}, 0.0919, 0.1046],
  ["mxfp4", { scaleRule: "floor" }, 0.1141, 0.1264],
  ["mxfp4", { scaleRule: "even" }, 0.112, 0.1237],
  ["mxfp4", { scaleRule: "rceil" }, 0.1184, 0.1323],
];

/**
 * Weights quantised by us: bit for bit what the originals make of the same; models made so, opened and run by
 * transformers, with the dense weights that we see in them; and errors as large as they are known to be.
 */
export async function checkQuantMake(report, { python, work }) {
  const folder = join(work, "quant-make");
  mkdirSync(folder);
  const cases = JSON.parse(runPython(python, "quant_make.py", ["cases", folder]));
  report.equal("what the tests expect", readExpected(join(folder, "fixtures")), readExpected(FIXTURES));
  const dense = await openPath(join(folder, "dense.safetensors"));
  for (const one of cases) await report.try(one.case, () => compareParts(report, folder, dense, one));
  await dense.close();

  const models = join(folder, "models");
  mkdirSync(models);
  for (const scheme of SCHEMES)
    await report.try(scheme, () => writeModel(join(folder, "model"), join(models, scheme), scheme));
  runPython(python, "quant_make.py", ["open", models]);
  for (const scheme of SCHEMES)
    await report.try(scheme, () => compareModel(report, join(models, scheme), scheme));

  const errors = await openPath(join(folder, "errors.safetensors"));
  for (const one of ERRORS) await report.try(`error of ${one[0]}`, () => compareErrors(report, errors, one));
  await errors.close();
}

const readExpected = (folder) => JSON.parse(readFileSync(join(folder, "expected.json"), "utf8"));

async function compareParts(report, folder, dense, { case: title, scheme, options }) {
  const expected = await openPath(join(folder, `${title}.safetensors`));
  const quantizer = quantizerOf(scheme, options);
  for (const { name, shape, dtype, ...tensor } of handles(dense)) {
    const parts = quantizer.quantize(await tensor.floats(), shape, dtype);
    const roles = [...expected.keys()].filter((one) => one.startsWith(`${name}/`)).sort();
    report.equal(
      `${title}: parts of ${name}`,
      Array.from(parts.keys(), (role) => `${name}/${role}`).sort(),
      roles,
    );
    const stored = Array.from(parts, ([role, part]) => ({ role, dtype: part.dtype, shape: part.shape }));
    report.equal(`${title}: description of ${name}`, quantizer.describe(shape, dtype), stored);
    for (const [role, part] of parts) {
      const other = expected.get(`${name}/${role}`);
      const isEqual =
        other.dtype === part.dtype &&
        `${other.shape}` === `${part.shape}` &&
        Buffer.compare(await other.bytes(), part.bytes) === 0;
      report.check(`${title}: ${role} of ${name}`, isEqual, `${part.dtype} [${part.shape}]`);
    }
  }
  await expected.close();
}

function* handles(checkpoint) {
  for (const handle of checkpoint) {
    const { name, shape, dtype } = handle;
    yield { name, shape, dtype, floats: () => handle.toFloat32() };
  }
}

/** A model folder, quantised. */
async function writeModel(from, to, scheme) {
  mkdirSync(to);
  const config = JSON.parse(readFileSync(join(from, "config.json"), "utf8"));
  const checkpoint = await openPath(join(from, "model.safetensors"));
  const [misfit, usual] = [misfitReason(quantizerOf(scheme)), usualReason(new Map(Object.entries(config)))];
  const { quantized, dense } = chooseWeights(checkpoint, (tensor) => misfit(tensor) ?? usual(tensor));
  const chosen = new Map(quantized.map((tensor) => [tensor.name, tensor]));
  const tensors = {};
  for (const tensor of checkpoint) {
    const { name, dtype, shape } = tensor;
    if (!chosen.has(name)) {
      tensors[name] = { dtype, shape, data: await tensor.bytes() };
      continue;
    }
    const quantizer = scheme === "nvfp4" ? await nvfp4For(tensor, quantized) : quantizerOf(scheme);
    for (const [role, part] of quantizer.quantize(await tensor.toFloat32(), shape, dtype))
      tensors[name.replace(/weight$/, role)] = { dtype: part.dtype, shape: part.shape, data: part.bytes };
  }
  await saveFile(join(to, "model.safetensors"), tensors, { metadata: { format: "pt" } });
  await checkpoint.close();
  const { quantizationConfig, files } = quantizedConfig({
    scheme,
    quantized: quantized.map(({ name }) => name.replace(/\.weight$/, "")),
    dense,
    dtype: "BF16",
    producer: "safetensors.js:0",
  });
  const stated = { ...config, quantization_config: quantizationConfig };
  writeFileSync(join(to, "config.json"), JSON.stringify(stated));
  for (const [name, file] of files) writeFileSync(join(to, name), JSON.stringify(file));
  const generation = join(from, "generation_config.json");
  if (existsSync(generation)) copyFileSync(generation, join(to, "generation_config.json"));
}

/** The quantiser with the global scale of all weights that are run as one with this one. */
async function nvfp4For({ name, dtype }, all) {
  let amax = 0;
  for (const tensor of all) {
    if (tensor.name !== name && (sharesScale(name) ?? name) !== sharesScale(tensor.name)) continue;
    for (const value of await tensor.toFloat32()) amax = Math.max(amax, Math.abs(value));
  }
  return quantizerOf("nvfp4", { globalScale: nvfp4GlobalScale(amax, dtype) });
}

/** The dense weights that we see in a model are those of the original; of GPTQ, which needs a GPU, that we find all. */
async function compareModel(report, folder, scheme) {
  const configs = { "config.json": JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) };
  report.check(`${scheme}: configuration`, quantConfigOf(configs) !== undefined);
  const stored = await openPath(join(folder, "model.safetensors"));
  const found = await findQuantized(stored, { configs });
  report.equal(`${scheme}: problems`, found.problems, []);
  report.equal(`${scheme}: weights that are found`, found.weights.size, 14);
  if (!scheme.startsWith("gptq")) {
    const ours = dequantized(stored, found);
    const theirs = await openPath(join(folder, "opened.safetensors"));
    for (const tensor of theirs) {
      const mine = ours.get(tensor.name);
      const isEqual =
        mine?.dtype === tensor.dtype && Buffer.compare(await mine.bytes(), await tensor.bytes()) === 0;
      report.check(`${scheme}: ${tensor.name}`, isEqual, `${mine?.dtype}, there ${tensor.dtype}`);
    }
    await theirs.close();
  }
  await stored.close();
}

async function compareErrors(report, weights, [scheme, options, ...expected]) {
  const quantizer = quantizerOf(scheme, options);
  for (const [i, name] of ["normal", "student"].entries()) {
    const tensor = weights.get(name);
    const values = await tensor.toFloat32();
    const parts = quantizer.quantize(values, tensor.shape, "F32");
    const error = await relativeError(values, parts, quantizer.scheme, tensor.shape);
    const known = expected[i];
    const title = `error of ${quantizer.scheme} ${JSON.stringify(options)}, ${name}`;
    report.check(title, Math.abs(error / known - 1) <= 0.03, `${error.toFixed(4)}, known as ${known}`);
  }
}

async function relativeError(values, parts, scheme, shape) {
  const tensors = Object.fromEntries(
    Array.from(parts, ([role, { dtype, shape, bytes }]) => [`l.${role}`, { dtype, shape, data: bytes }]),
  );
  const { quantizationConfig } = quantizedConfig({
    scheme,
    quantized: ["l"],
    dense: [],
    dtype: "F32",
    producer: "safetensors.js:0",
  });
  const sink = memorySink();
  await save(sink, tensors);
  const checkpoint = await open(sink.bytes());
  const configs = { "config.json": { quantization_config: quantizationConfig } };
  const dense = dequantized(checkpoint, await findQuantized(checkpoint, { configs }), { dtype: "F32" });
  const tensor = dense.get("l.weight");
  if (`${tensor.shape}` !== `${shape}`) throw new Error(`[${tensor.shape}] of [${shape}]`);
  const made = await tensor.toFloat32();
  let [off, all] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    off += (values[i] - made[i]) ** 2;
    all += values[i] ** 2;
  }
  return Math.sqrt(off / all);
}
