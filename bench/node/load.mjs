// Loads every tensor of a file and hashes it, in one of several ways. See README.md for what is timed.
import { createHash } from "node:crypto";
import { statSync } from "node:fs";
// Loaded by the library when it needs it; no side is timed for its imports.
import "koffi";
import { open } from "safetensors.js";
import { hugePages, openFile, openMapped } from "safetensors.js/node";
import { makeHugeRoom } from "./huge-room.mjs";
import { report } from "./report.mjs";

const [path, way, touching] = process.argv.slice(2);
const PAGE = 4096;

/** Ways to hold all tensors: each gives what holds their bytes, by name. */
const HOLD = {
  data: (checkpoint) => collect(checkpoint, (tensor) => tensor.data()),
  mapped: (checkpoint) => collect(checkpoint, (tensor) => tensor.bytes()),
  async huge(checkpoint) {
    const tensors = await checkpoint.load({ allocate: await hugePages() });
    return new Map([...tensors].map(([name, { bytes }]) => [name, bytes]));
  },
};

const buffer = new Uint8Array(4 << 20);

/** Ways to go through the tensors: each gives the bytes of one in pieces. */
const GO_THROUGH = {
  each: async (tensor) => [await tensor.data()],
  chunks: (tensor) => tensor.chunks(buffer),
};

if (way === "huge") makeHugeRoom(statSync(path).size);
const hashes = [];
const start = performance.now();
const checkpoint = await open(await (way === "mapped" ? openMapped(path) : openFile(path)));
const figures = way in HOLD ? await hold(HOLD[way]) : await goThrough(GO_THROUGH[way]);
await checkpoint.close();
const lines = hashes.map(([name, hash]) => `${name} ${hash}\n`).sort();
report({ ...figures, checksum: createHash("sha256").update(lines.join("")).digest("hex") });

/** `read`: milliseconds until every page has been touched, if they are to be; `total`: until all is hashed. */
async function hold(get) {
  const held = await get(checkpoint);
  const sample = touching ? sumPages(held.values()) : undefined;
  const read = touching ? performance.now() - start : undefined;
  for (const [name, data] of held) hashes.push([name, createHash("sha256").update(data).digest("hex")]);
  return { read, total: performance.now() - start, sample };
}

/** `total`: milliseconds with hashing; `read`: without what it takes to hash once more what is in memory already. */
async function goThrough(get) {
  let total = 0;
  let again = 0;
  let begin = start;
  for (const tensor of checkpoint) {
    const hash = createHash("sha256");
    const second = createHash("sha256");
    for await (const data of await get(tensor)) {
      hash.update(data);
      total += performance.now() - begin;
      begin = performance.now();
      second.update(data);
      again += performance.now() - begin;
      begin = performance.now();
    }
    hashes.push([tensor.name, hash.digest("hex")]);
  }
  return { read: total - again, total };
}

async function collect(tensors, read) {
  const held = new Map();
  for (const tensor of tensors) held.set(tensor.name, await read(tensor));
  return held;
}

/** Sum of one byte of each page: what is only mapped is loaded by that. */
function sumPages(arrays) {
  let sum = 0;
  for (const { buffer, byteOffset, byteLength } of arrays) {
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    for (let at = 0; at < byteLength; at += PAGE) sum += bytes[at];
  }
  return sum;
}
