import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openPath } from "safetensors.js/node";
import { dequantized, findQuantized } from "safetensors.js/quant";
import { runPython } from "../python.mjs";

/**
 * Checkpoints of GPTQ and AWQ in every layout, the tensors of each layer spread over two files: their dense weights are those
 * that PyTorch computes, bit for bit, in the dtype of the scales. A configuration that says what is not so is told of.
 */
export async function checkGptq(report, { python, work }) {
  const folder = join(work, "quant-gptq");
  mkdirSync(folder);
  for (const one of JSON.parse(runPython(python, "quant_gptq.py", [folder]))) {
    await report.try(one.case, () => checkCase(report, join(folder, one.folder), one));
  }
}

async function checkCase(report, folder, { case: title, scheme, problem }) {
  const stored = await openPath(join(folder, "model.safetensors.index.json"));
  const expected = await openPath(join(folder, "dense.safetensors"));
  const config = join(folder, "config.json");
  const configs = existsSync(config) ? { "config.json": JSON.parse(readFileSync(config, "utf8")) } : {};
  const found = await findQuantized(stored, { configs });
  const dense = dequantized(stored, found);
  const texts = found.problems.map(({ text }) => text);
  report.check(
    `${title}: problems`,
    problem ? new RegExp(problem).test(texts) : texts.length === 0,
    `${texts}`,
  );
  report.equal(`${title}: tensors`, new Set(dense.keys()), new Set(expected.keys()));
  const schemes = new Set(Array.from(found.weights.values(), (weight) => weight.scheme));
  report.equal(`${title}: scheme`, schemes, new Set([scheme]));
  for (const tensor of expected) {
    const ours = dense.get(tensor.name);
    const name = `${title}: ${tensor.name}`;
    report.equal(`${name}, dtype and shape`, [ours.dtype, ...ours.shape], [tensor.dtype, ...tensor.shape]);
    report.check(name, Buffer.compare(await ours.bytes(), await tensor.bytes()) === 0, "other bytes");
  }
  await dense.close();
  await expected.close();
}
