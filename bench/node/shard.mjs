// Reads what one rank has of a checkpoint into memory and keeps it, a few times: only that is timed. Then hashes it.
import { createHash } from "node:crypto";
// Loaded by the library when it needs it; no side is timed for its imports.
import "koffi";
import { EXACT, open, priced } from "safetensors.js";
import { openFile, openMapped } from "safetensors.js/node";
import { parsePlan, readShare, shareCheckpoint } from "safetensors.js/parallel";
import { report } from "./report.mjs";

const [path, source, way, task] = process.argv.slice(2);
const REPEATS = 2;

const { world, rank, plan, layers } = JSON.parse(task);
const options = { world, rank, plan: parsePlan(plan), pipeline: { layers: { layers }, tied: false } };
const OPEN = {
  mapped: () => openMapped(path),
  file: () => openFile(path, { blocking: true }),
  exact: async () => priced(await openFile(path, { blocking: true }), EXACT),
};
const checkpoint = await open(await OPEN[source]());

async function share() {
  if (way === "load") return (await shareCheckpoint(checkpoint, options)).load();
  const tensors = new Map();
  for await (const tensor of readShare(checkpoint, options)) tensors.set(tensor.name, tensor);
  return tensors;
}

const times = [];
let tensors;
for (let run = 0; run <= REPEATS; run++) {
  // What is held twice would not be what a rank takes.
  tensors = undefined;
  globalThis.gc?.();
  const start = performance.now();
  tensors = await share();
  times.push(performance.now() - start);
}
const hash = createHash("sha256");
for (const name of [...tensors.keys()].sort()) hash.update(tensors.get(name).bytes);
const { bytesRead, usefulBytes, requests } = await (await shareCheckpoint(checkpoint, options)).plan();
await checkpoint.close();
const [first, ...again] = times;
report({ first, again, checksum: hash.digest("hex"), bytesRead, usefulBytes, requests });
