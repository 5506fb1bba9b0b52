// Quantises weights of a file by one thread, over and over; only that is timed. Then hashes what would be stored, and writes
// the codes of GPTQ to another file.
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { openPath } from "safetensors.js/node";
import { gptq, loadQuantizeKernels, quantizerOf } from "safetensors.js/quantize";
import { report } from "./report.mjs";

const [source, codesPath] = process.argv.slice(2);
const REPEATS = 5;

const file = await openPath(source);
const large = file.get("large");
const values = await large.data();
const small = file.get("small");
const calibrated = {
  weight: await small.data(),
  hessian: await file.get("hessian").data(),
  columns: small.shape[1],
  bits: 4,
  group: 128,
  symmetric: true,
};

const kernels = await loadQuantizeKernels();
const measured = {};
for (const scheme of ["fp8-dynamic", "fp8-block", "gptq-int4-g128"]) {
  const { times, result } = measure(() => quantizerOf(scheme).quantize(values, large.shape, "F32", kernels));
  const hash = createHash("sha256");
  for (const { bytes } of result.values()) hash.update(bytes);
  measured[scheme] = { times, checksum: hash.digest("hex") };
}
const { times, result } = measure(() => gptq(calibrated, kernels));
writeFileSync(codesPath, result.codes);
report({ measured: { ...measured, gptq: { times } } });

/** Half of the runs do not count: what they use is compiled meanwhile. */
function measure(compute) {
  const times = [];
  let result;
  for (let run = 0; run < 2 * REPEATS; run++) {
    const start = performance.now();
    result = compute();
    if (run >= REPEATS) times.push(performance.now() - start);
  }
  return { times, result };
}
