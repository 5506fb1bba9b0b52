// Loads every tensor of a file and hashes it. See README.md for what is timed.
import { createHash } from "node:crypto";
import { openPath } from "safetensors.js/node";
import { report } from "./report.mjs";

const [path, way] = process.argv.slice(2);
const buffer = new Uint8Array(4 << 20);
const hashes = [];
/** Milliseconds to load and hash; and to hash once more what is in memory already. */
let total = 0;
let again = 0;

let start = performance.now();
const checkpoint = await openPath(path);
if (way === "all") {
  const loaded = new Map();
  for (const tensor of checkpoint) loaded.set(tensor.name, await tensor.data());
  for (const [name, data] of loaded) hashes.push([name, createHash("sha256").update(data).digest("hex")]);
  total = performance.now() - start;
  for (const data of loaded.values()) hashAgain(createHash("sha256"), data);
} else {
  for (const tensor of checkpoint) {
    const hash = createHash("sha256");
    const second = createHash("sha256");
    for await (const data of way === "each" ? [await tensor.data()] : tensor.chunks(buffer)) {
      hash.update(data);
      total += performance.now() - start;
      hashAgain(second, data);
      start = performance.now();
    }
    hashes.push([tensor.name, hash.digest("hex")]);
  }
}
await checkpoint.close();
const lines = hashes.map(([name, hash]) => `${name} ${hash}\n`).sort();
report({ total, again, checksum: createHash("sha256").update(lines.join("")).digest("hex") });

function hashAgain(hash, data) {
  const begin = performance.now();
  hash.update(data);
  again += performance.now() - begin;
}
