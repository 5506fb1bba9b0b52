import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openFile } from "safetensors.js/node";
import { openTorch } from "safetensors.js/torch";
import { compareTensor } from "../compare.mjs";
import { runPython } from "../python.mjs";
import { FIXTURES } from "./goldens.mjs";

/** Tensors of every kind that torch has just written, read with each of the options; torch has made the same of them. */
export async function readTorchKinds(report, { python, work }) {
  const folder = join(work, "torch-kinds");
  runPython(python, "make_torch_kinds.py", [folder]);
  const expected = readKinds(folder);
  report.equal("torch/expected-kinds.json", expected, readKinds(join(FIXTURES, "torch")));
  for (const [file, { readings }] of Object.entries(expected)) {
    for (const { options, tensors } of readings) {
      const name = `${file} with ${JSON.stringify(options)}`;
      await report.try(name, async () => {
        const checkpoint = await openTorch(await openFile(join(folder, "kinds", file)), options);
        const names = tensors.map((tensor) => tensor.name);
        report.equal(`${name}: names`, [...checkpoint.keys()].sort(), names.sort());
        for (const tensor of tensors) await compareTensor(report, name, checkpoint, tensor);
        await checkpoint.close();
      });
    }
  }
}

function readKinds(folder) {
  return JSON.parse(readFileSync(join(folder, "expected-kinds.json"), "utf8"));
}
