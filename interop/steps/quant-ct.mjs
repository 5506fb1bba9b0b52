import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { openPath } from "safetensors.js/node";
import { dequantized, findQuantized } from "safetensors.js/quant";
import { runPython, sha256 } from "../python.mjs";

/**
 * Quantised checkpoints that compressed-tensors, Transformers and PyTorch make, dequantised: bit for bit the dense weights
 * that these make of them.
 */
export async function checkQuantCt(report, { python, work }) {
  const folder = join(work, "quant-ct");
  mkdirSync(folder);
  for (const one of JSON.parse(runPython(python, "quant_ct.py", [folder])))
    await report.try(one.case, () => checkCase(report, one));
}

async function checkCase(report, { case: title, folder, configs, dense }) {
  const stored = await openPath(folder);
  const found = await findQuantized(stored, { configs });
  report.equal(`${title}: problems`, [...found.problems, ...found.unsupported], []);
  const checkpoint = dequantized(stored, found);
  report.equal(`${title}: tensors`, new Set(checkpoint.keys()), new Set(dense.map(({ name }) => name)));
  for (const expected of dense) {
    const tensor = checkpoint.get(expected.name);
    const { dtype, shape } = tensor;
    const actual = { name: expected.name, dtype, shape: [...shape], sha256: sha256(await tensor.bytes()) };
    report.equal(`${title}: ${expected.name}`, actual, expected);
  }
  await checkpoint.close();
}
