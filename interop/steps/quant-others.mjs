import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openPath } from "safetensors.js/node";
import { dequantized, findQuantized } from "safetensors.js/quant";
import { runPython } from "../python.mjs";

/**
 * Checkpoints that gpt-oss' layout, bitsandbytes, HQQ, MLX, torchao, quanto, ComfyUI's formulas and BitNet have just
 * been written in: the values that these libraries give, bit for bit where they round once, and inside the bound of
 * their roundings where they round more often.
 */
export async function checkQuantOthers(report, { python, work }) {
  const folder = join(work, "quant-others");
  mkdirSync(folder);
  const seed = `${Math.floor(Math.random() * 2 ** 31)}`;
  const printed = runPython(python, "quant_others.py", [folder, seed]);
  for (const one of JSON.parse(printed.trim().split("\n").at(-1))) {
    await report.try(one.case, () => checkCase(report, folder, seed, one));
  }
}

async function checkCase(report, folder, seed, { case: title, bounds }) {
  const file = (name) => join(folder, title, name);
  const stored = await openPath(file("model.safetensors"));
  const expected = await openPath(file("dense.safetensors"));
  const configs = { "config.json": JSON.parse(readFileSync(file("config.json"), "utf8")) };
  const quantization = await findQuantized(stored, { configs });
  const names = new Set(quantization.weights.keys());
  report.equal(`${title} (seed ${seed}): the weights`, names, new Set(expected.keys()));
  report.equal(`${title}: problems`, quantization.problems, []);
  for (const tensor of expected) {
    const { name, dtype } = tensor;
    const ours = dequantized(stored, quantization, { dtype }).get(name);
    const isOfShape = `${ours.shape}` === `${tensor.shape}`;
    const bound = bounds[name];
    if (bound === undefined) {
      const isEqual = isOfShape && Buffer.compare(await ours.bytes(), await tensor.bytes()) === 0;
      report.check(
        `${title} (seed ${seed}): ${name}`,
        isEqual,
        `[${ours.shape}], expected [${tensor.shape}]`,
      );
      continue;
    }
    const [some, others] = [await ours.toFloat32(), await tensor.toFloat32()];
    const largest = some.reduce((most, value, i) => Math.max(most, Math.abs(value - others[i])), 0);
    const text = `${largest} off, at most ${bound}`;
    report.check(`${title} (seed ${seed}): ${name}`, isOfShape && largest <= bound, text);
  }
  await stored.close();
  await expected.close();
}
