// Compares the library with the Python originals: npm run interop. Build it first: npm run build.

import { mkdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { runStep } from "./report.mjs";
import { convertCheckpoints } from "./steps/convert.mjs";
import { checkGoldens } from "./steps/goldens.mjs";
import { checkHonestCorpus } from "./steps/honest-corpus.mjs";
import { checkNumpy } from "./steps/numpy.mjs";
import { readReferenceFiles } from "./steps/read-reference.mjs";
import { readTorchFiles } from "./steps/read-torch.mjs";
import { checkRuntimes } from "./steps/runtimes.mjs";
import { checkSlices } from "./steps/slices.mjs";
import { readTorchKinds } from "./steps/torch-kinds.mjs";
import { mutateTorchFiles } from "./steps/torch-mutations.mjs";
import { compareVerdicts } from "./steps/verdicts.mjs";
import { writeForReference } from "./steps/write.mjs";
import { writeTorchFiles } from "./steps/write-torch.mjs";
import { ensureVenv } from "./venv.mjs";

const STEPS = [
  ["the committed expectations are what the originals say today", checkGoldens],
  ["headers, valid and damaged: the same verdict and tensors as the reference", compareVerdicts],
  ["files of the reference, read by us", readReferenceFiles],
  ["files of ours, read by the reference, and their headers", writeForReference],
  ["PyTorch checkpoints, read by us", readTorchFiles],
  ["PyTorch tensors of every kind, read by us", readTorchKinds],
  [
    "PyTorch files, changed: the tensors that torch loads, and no scan that is clean by mistake",
    mutateTorchFiles,
  ],
  ["files as people have them: no false alarm, and every tensor", checkHonestCorpus],
  ["PyTorch checkpoints, converted by the command, read by the reference", convertCheckpoints],
  ["PyTorch files of ours, loaded by torch, and what torch.save makes of the same", writeTorchFiles],
  ["slices: NumPy's answers, on every source, through the planner, at random budgets", checkSlices],
  ["NumPy files, read by us, and ours read by NumPy", checkNumpy],
  ["Node 20 to 26, Bun and Deno: the same results", checkRuntimes],
];

const python = ensureVenv();
const work = fileURLToPath(new URL(".work/", import.meta.url));
rmSync(work, { recursive: true, force: true });
mkdirSync(work);

let passed = 0;
let failed = 0;
for (const [title, step] of STEPS) {
  const report = await runStep(title, step, { python, work });
  passed += report.passed;
  failed += report.failed;
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
