import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { runPython } from "../python.mjs";
import { checkpoints, convert } from "./convert.mjs";

/** Kinds of tensors and of containers; those with `--key` and the quickstart's come on top. */
const FILES = new Set([
  "dtypes.pt",
  "dtypes-2d.pt",
  "big-endian-dtypes.pt",
  "scalar-and-empty.pt",
  "conj-and-neg.pt",
  "views.pt",
  "offset.pt",
  "non-contiguous.pt",
  "non-contiguous-f4.pt",
  "expanded.pt",
  "parameters.pt",
  "requires-grad.pt",
  "module.pt",
  "training.pt",
  "names.pt",
  "numpy-objects.pt",
  "tied.pt",
  "sharded-tied pytorch_model.bin.index.json",
  "nested-files.pt",
  "rezipped-streamed.pt",
  "compressed.pt",
  "legacy-views.pt",
  "tar-archive.pt",
  "script-model.pt",
  "old-zip.pt",
]);

/** `safetensors convert in.bin out.pt` on PyTorch checkpoints: the same tensors and ties, where torch allows nothing else. */
export async function convertTorchToTorch(report, { python, work }) {
  mkdirSync(join(work, "torch-to-torch"));
  const chosen = checkpoints(work).filter(
    ({ name, options }) => FILES.has(name) || options || name === "quickstart",
  );
  const names = new Set(chosen.map(({ name }) => name));
  report.equal(
    "files that are not there",
    [...FILES].filter((name) => !names.has(name)),
    [],
  );
  const files = [];
  for (const { name, source, stateDict, options } of chosen) {
    const output = join(work, "torch-to-torch", `${name.replace(/\.pt$/, "")}.pt`);
    const isSharded = source.endsWith(".json");
    const { status, stderr } = convert(isSharded ? dirname(source) : source, output, options);
    report.check(`${name} is converted`, status === 0, stderr);
    if (status === 0) files.push({ source, output, stateDict });
  }
  const results = JSON.parse(runPython(python, "torch_to_torch.py", [], JSON.stringify(files)));
  for (const [index, { equal, problems }] of results.entries()) {
    const { output } = files[index];
    for (const problem of problems) report.check(output, false, problem);
    for (const name of equal) report.check(`${output}: ${name}`, true);
    report.check(`${output}: some tensor was compared`, equal.length > 0);
  }
  const tied = results.filter(({ ties }) => ties > 0).length;
  report.check("several files have ties", tied >= 5, `${tied}`);
}
