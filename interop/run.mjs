// Compares the library with the Python originals: npm run interop. Build it first: npm run build.

import { mkdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { failOnFullDisk } from "./crash/full-disk.mjs";
import { killAtRandom } from "./crash/harness.mjs";
import { runStep } from "./report.mjs";
import { checkComparison } from "./steps/compare.mjs";
import { checkConsolidation } from "./steps/consolidate.mjs";
import { convertCheckpoints } from "./steps/convert.mjs";
import { checkDeflated } from "./steps/deflated.mjs";
import { checkEdits } from "./steps/edit.mjs";
import { checkGoldens } from "./steps/goldens.mjs";
import { checkHonestCorpus } from "./steps/honest-corpus.mjs";
import { checkManyTensors } from "./steps/many-tensors.mjs";
import { checkNumpy } from "./steps/numpy.mjs";
import { checkParallel } from "./steps/parallel.mjs";
import { checkDeviceMaps } from "./steps/parallel-device-maps.mjs";
import { checkQuantizedRanks } from "./steps/parallel-quantized.mjs";
import { checkRules } from "./steps/parallel-rules.mjs";
import { checkCalibrated } from "./steps/quant-calibrated.mjs";
import { checkQuantCt } from "./steps/quant-ct.mjs";
import { checkGptq } from "./steps/quant-gptq.mjs";
import { checkQuantMake } from "./steps/quant-make.mjs";
import { checkQuantOthers } from "./steps/quant-others.mjs";
import { readReferenceFiles } from "./steps/read-reference.mjs";
import { readTorchFiles } from "./steps/read-torch.mjs";
import { checkRuntimes } from "./steps/runtimes.mjs";
import { checkSarif } from "./steps/sarif.mjs";
import { checkShares } from "./steps/shard.mjs";
import { checkShards } from "./steps/shards.mjs";
import { checkSlices } from "./steps/slices.mjs";
import { readTorchKinds } from "./steps/torch-kinds.mjs";
import { mutateTorchFiles } from "./steps/torch-mutations.mjs";
import { convertTorchToTorch } from "./steps/torch-to-torch.mjs";
import { transformCheckpoints } from "./steps/transform.mjs";
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
  ["SARIF logs of scans: valid by the schema of OASIS", checkSarif],
  ["PyTorch checkpoints, converted by the command, read by the reference", convertCheckpoints],
  ["PyTorch checkpoints, converted to PyTorch files by the command, loaded by torch", convertTorchToTorch],
  ["200,000 tensors: a clean scan, and all of them converted", checkManyTensors],
  ["a compressed checkpoint, converted in a fraction of its size in memory", checkDeflated],
  ["files edited in place and anew, read by the reference", checkEdits],
  ["checkpoints in several files: those of huggingface_hub, and opened by the field's loaders", checkShards],
  ["saves that are killed: the old checkpoint or the new one, read by all", killAtRandom],
  ["a full disk: the old checkpoint, and nothing else", failOnFullDisk],
  [
    "files of ranks, put together by the command: the originals, and what torch makes of them",
    checkConsolidation,
  ],
  [
    "models divided among ranks: what transformers keeps, and vLLM's rules as they are defined",
    checkParallel,
  ],
  ["the same for the converters of DeepSeek and gpt-oss, vLLM's stages, Megatron's matrices", checkRules],
  ["device maps: those of accelerate", checkDeviceMaps],
  ["quantised models divided among ranks: PyTorch's slices of the dense weights", checkQuantizedRanks],
  ["shards of ranks, opened in Python, and put together again", checkShares],
  ["GPTQ and AWQ: the weights that PyTorch computes, bit for bit", checkGptq],
  ["compressed-tensors, FP8 and ModelOpt: the dense weights that the originals make", checkQuantCt],
  [
    "bitsandbytes, HQQ, MLX, torchao, quanto, ComfyUI, BitNet and gpt-oss: their own values",
    checkQuantOthers,
  ],
  [
    "weights quantised by us: the bits of the originals, models that transformers opens, errors as known",
    checkQuantMake,
  ],
  [
    "quantised with calibration: the codes of the published algorithms, better outputs than rounding's",
    checkCalibrated,
  ],
  ["checkpoints rearranged by recipes: the files that torch and transformers make", transformCheckpoints],
  ["differences as NumPy finds them, digests as hashlib does", checkComparison],
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
