// Cuts parts out of a tensor, over and over: only that is timed. Then once more, to hash them.
import { createHash } from "node:crypto";
// Loaded by the library when it needs it; no side is timed for its imports.
import "koffi";
import { open, range } from "safetensors.js";
import { hugePages, openFile, openMapped } from "safetensors.js/node";
import { report } from "./report.mjs";

const [path, source, way, task] = process.argv.slice(2);
const REPEATS = 7;

const { tensor: name, parts } = JSON.parse(task);
const cuts = parts.map((part) => part.map((bounds) => range(...bounds)));
const checkpoint = await open(
  source === "mapped" ? await openMapped(path) : await openFile(path, { blocking: true }),
);
const tensor = checkpoint.get(name);
// All parts are as large as the first. NumPy asks for huge pages by itself.
const target = (await hugePages())(tensor.slice(...cuts[0]).byteLength);

async function cut(items) {
  const part = tensor.slice(...items);
  if (way === "bytes") return part.bytes();
  await part.readInto(target);
  return target;
}

const times = [];
for (let run = 0; run <= REPEATS; run++) {
  const start = performance.now();
  for (const items of cuts) await cut(items);
  times.push(performance.now() - start);
}
const hash = createHash("sha256");
for (const items of cuts) hash.update(await cut(items));
await checkpoint.close();
const [first, ...again] = times;
report({ first, again, checksum: hash.digest("hex") });
