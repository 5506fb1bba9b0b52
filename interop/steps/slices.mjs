import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { Checkpoint, parseIndex, reshape, transpose } from "safetensors.js";
import { runPython, sha256 } from "../python.mjs";
import { serveRanges, slicesSources } from "../slice-sources.mjs";
import { mulberry32 } from "./mutate.mjs";

/** Most cases that are read together, and the budget that is enough for most of these. */
const MOST_CASES = 60;
const USUAL_BUDGET = 8 << 20;

/** Of so many cases one is read in a batch: reads bring what lies between as well, most where requests cost most. */
const ONE_CASE_OF = { usually: 3, Blob: 5, HTTP: 10, "sharded over HTTP": 10 };

/** NumPy's answers to random chains of slices, transposes and reshapes, on every source, alone and through the planner. */
export async function checkSlices(report, { python, work }) {
  const folder = join(work, "slices");
  const { tensors, cases } = JSON.parse(runPython(python, "make_slices.py", [folder]));
  const server = await serveRanges(folder);
  try {
    const sources = slicesSources(folder, server);
    const random = mulberry32(2026);
    const alone = dealOut(random, cases, Object.keys(sources));
    for (const [source, openSource] of Object.entries(sources)) {
      await report.try(source, async () => {
        const opened = await openSource();
        compareTensors(report, source, opened.checkpoint, tensors);
        for (const { one, read } of alone.get(source))
          await checkAlone(report, source, opened, one, read, random);
        for (const batch of batchesOf(random, cases, ONE_CASE_OF[source] ?? ONE_CASE_OF.usually))
          await checkBatch(report, source, opened, batch, random);
        const { below, traffic } = opened;
        if (below) report.check(`${source}: the traffic behind it`, below(traffic));
        await opened.checkpoint.close();
      });
    }
  } finally {
    server.close();
  }
}

/** Each case is read by itself in each way, each time from one of the sources. */
function dealOut(random, cases, sources) {
  const bySource = new Map(sources.map((source) => [source, []]));
  for (const one of cases) {
    for (const read of [readBytes, readInto, readChunks])
      bySource.get(pick(random, sources)).push({ one, read });
  }
  return bySource;
}

function compareTensors(report, source, checkpoint, tensors) {
  const found = [...checkpoint].map(({ name, dtype, shape }) => ({ name, dtype, shape: [...shape] }));
  const byName = (a, b) => (a.name < b.name ? -1 : 1);
  report.equal(`${source}: tensors`, found.sort(byName), [...tensors].sort(byName));
}

// ---- One case -------------------------------------------------------------------------------------------------------

/**
 * One case by itself. The bytes read are those that a plan of it promises; the requests need not be as many, for a
 * tensor that lies in order comes with one read, however long, or with one for each piece.
 */
async function checkAlone(report, source, { checkpoint, traffic }, one, read, random) {
  const title = `${source}, ${read.name}: ${JSON.stringify(one)}`;
  await report.try(title, async () => {
    const tensor = applySteps(checkpoint.get(one.name), one.steps);
    const before = traffic?.bytes;
    checkAnswer(report, title, tensor, await read(tensor, random), one);
    if (!traffic) return;
    const { bytesRead } = await checkpointOf(new Map([[one.name, tensor]])).plan();
    report.equal(`${title}: bytes read`, traffic.bytes - before, bytesRead);
  });
}

async function readBytes(tensor) {
  return tensor.bytes();
}

async function readInto(tensor) {
  // What was in the memory before must not show.
  const target = new Uint8Array(tensor.byteLength).fill(0xa5);
  await tensor.readInto(target);
  return target;
}

async function readChunks(tensor, random) {
  // At most about a hundred pieces; some buffers are longer than the tensor.
  const room = tensor.byteLength / 100 + random() ** 3 * tensor.byteLength * 1.1;
  const chunks = [];
  for await (const chunk of tensor.chunks(new Uint8Array(Math.ceil(room) + 1))) chunks.push(chunk.slice());
  return Buffer.concat(chunks);
}

// ---- Many cases at once ---------------------------------------------------------------------------------------------

/** A part of the cases in random order, in batches of random lengths. */
function batchesOf(random, cases, oneOf) {
  const left = shuffled(random, cases);
  left.length = Math.ceil(left.length / oneOf);
  const batches = [];
  while (left.length > 0) batches.push(left.splice(0, 1 + Math.floor(random() * MOST_CASES)));
  return batches;
}

/**
 * Cases by number, any number of the same tensor: the last slice of each is for the reading to make. Then those that are
 * one slice of a tensor are read once more, as parts of the checkpoint itself.
 */
async function checkBatch(report, source, { checkpoint, traffic }, batch, random) {
  const parts = new Map();
  const chains = { answers: new Map(), slices: new Map() };
  const slices = { answers: new Map(), slices: new Map() };
  for (const [number, one] of batch.entries()) {
    const key = String(number);
    const last = one.steps.at(-1).slice;
    const before = last === undefined ? one.steps : one.steps.slice(0, -1);
    parts.set(key, applySteps(checkpoint.get(one.name), before));
    chains.answers.set(key, one);
    if (last !== undefined) chains.slices.set(key, itemsOf(last));
    if (last === undefined || before.length > 0 || slices.answers.has(one.name)) continue;
    slices.answers.set(one.name, one);
    slices.slices.set(one.name, itemsOf(last));
  }
  await checkRead(report, `${source}, chains`, checkpointOf(parts), traffic, chains, random);
  if (slices.answers.size > 0)
    await checkRead(report, `${source}, slices`, checkpoint, traffic, slices, random);
}

/**
 * Reads a batch in some way that it may be read. What is asked of the sources is what the plan promises, to the byte and
 * for every kind: a source in memory shows a part for each request. Only what stands behind one may differ, see
 * slice-sources.mjs.
 */
async function checkRead(report, source, checkpoint, traffic, { answers, slices }, random) {
  const names = shuffled(random, [...answers.keys()]);
  const { peakMemory } = await checkpoint.plan({ names, slices });
  const budget = Math.ceil(peakMemory + spread(random) * Math.max(USUAL_BUDGET - peakMemory, 0));
  const how = { budget, borrowed: random() < 0.5, order: pick(random, ["file", "given"]) };
  const title = `${source}, ${names.length} with ${JSON.stringify(how)}`;
  await report.try(title, async () => {
    const promised = await promisedTraffic(checkpoint, { names, slices, budget }, how.order);
    const before = traffic && { ...traffic };
    const came = [];
    for await (const tensor of checkpoint.read({ names, slices, ...how })) {
      // What is not borrowed must still be there when all have come.
      if (how.borrowed) checkAnswer(report, title, tensor, tensor.bytes, answers.get(tensor.name));
      came.push(tensor);
    }
    if (!how.borrowed) {
      for (const tensor of came) checkAnswer(report, title, tensor, tensor.bytes, answers.get(tensor.name));
    }
    const order = came.map(({ name }) => name);
    if (how.order === "file") order.sort();
    report.equal(`${title}: names`, order, how.order === "file" ? [...names].sort() : names);
    if (!traffic) return;
    const made = { requests: traffic.requests - before.requests, bytes: traffic.bytes - before.bytes };
    report.equal(`${title}: traffic`, made, promised);
  });
}

/** A plan is of all tensors together, in the order of their data; in the order given each one is read by itself. */
async function promisedTraffic(checkpoint, { names, ...choice }, order) {
  const promised = { requests: 0, bytes: 0 };
  for (const part of order === "given" ? names.map((name) => [name]) : [names]) {
    const { requests, bytesRead } = await checkpoint.plan({ ...choice, names: part });
    promised.requests += requests;
    promised.bytes += bytesRead;
  }
  return promised;
}

/** None, or any part of the way to one, small ones more often. */
function spread(random) {
  return random() < 0.25 ? 0 : random() ** 3;
}

// ---- Common ---------------------------------------------------------------------------------------------------------

function applySteps(tensor, steps) {
  return steps.reduce((part, { slice, transpose: axes, reshape: shape }) => {
    if (slice) return part.slice(...itemsOf(slice));
    return axes ? transpose(part, axes) : reshape(part, shape);
  }, tensor);
}

/** Indexes come as Python writes them, or as our items. */
function itemsOf(index) {
  return typeof index === "string" ? parseIndex(index) : index;
}

/** Parts of tensors as a checkpoint of their own. */
function checkpointOf(parts) {
  const tensors = { size: parts.size, names: () => parts.keys(), find: (name) => parts.get(name)?.view };
  return new Checkpoint({ format: "parts", tensors });
}

function checkAnswer(report, title, { dtype, shape }, bytes, { sha256: wanted, ...one }) {
  const isRight = isDeepStrictEqual([...shape], one.shape) && hashOf(dtype, shape, bytes) === wanted;
  report.check(title, isRight, `${JSON.stringify(one)} gives [${shape}], or other bytes`);
}

function hashOf(dtype, shape, bytes) {
  const isHalf = dtype === "F4" && shape.reduce((product, size) => product * size, 1) % 2 === 1;
  // The bits behind the last element are nobody's.
  const known = isHalf ? bytes.map((byte, at) => (at === bytes.length - 1 ? byte & 15 : byte)) : bytes;
  return sha256(known);
}

function pick(random, list) {
  return list[Math.floor(random() * list.length)];
}

function shuffled(random, list) {
  const ranked = list.map((item) => [random(), item]);
  return ranked.sort(([a], [b]) => a - b).map(([, item]) => item);
}
