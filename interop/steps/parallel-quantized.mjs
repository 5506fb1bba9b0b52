import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { openPath } from "safetensors.js/node";
import {
  legalWorldSizes,
  mergeRanks,
  parsePlan,
  planFor,
  rankShare,
  shareCheckpoint,
  worldTable,
} from "safetensors.js/parallel";
import { dequantized, findQuantized } from "safetensors.js/quant";
import { runPython } from "../python.mjs";

const WORLDS = [2, 4];

/**
 * Models that the originals have quantised, divided: what each rank has is a quantised checkpoint of its own, whose dense
 * weights are those that PyTorch slices out of the dense weights that the original makes of the whole; and all ranks together
 * are the checkpoint again, byte for byte.
 */
export async function checkQuantizedRanks(report, { python, work }) {
  const folder = join(work, "parallel-quantized");
  mkdirSync(folder);
  const seed = `${Math.floor(Math.random() * 2 ** 31)}`;
  const printed = runPython(python, "parallel_quantized.py", [folder, seed]);
  for (const one of JSON.parse(printed.trim().split("\n").at(-1))) {
    const title = `${one.case} (seed ${seed})`;
    await report.try(title, () => checkCase(report, title, one));
  }
}

async function checkCase(report, title, { folder, config, rules, plan }) {
  const configs = { "config.json": config };
  const stored = await openPath(join(folder, "model.safetensors.index.json"));
  const dense = await openPath(join(folder, "dense.safetensors"));
  const quantized = await findQuantized(stored, { configs });
  report.equal(`${title}: problems`, [...quantized.problems, ...quantized.unsupported], []);
  await checkDense(report, title, dequantized(stored, quantized), dense);
  if (plan) checkRefusal(report, title, { config, quantized }, stored);
  for (const rule of rules) {
    const division = { config, quantized, plan: plan ? parsePlan(plan) : planFor(config, { rules: rule }) };
    for (const tp of WORLDS) {
      const label = `${title}, ${rule}, ${tp} ranks`;
      const expected = (rank) => openPath(join(folder, `${rule}-${tp}-${rank}.safetensors`));
      await report.try(label, () =>
        checkWorld(report, label, stored, { ...division, world: { tp } }, expected),
      );
    }
  }
  await stored.close();
  await dense.close();
}

async function checkWorld(report, title, stored, options, expectedOf) {
  const { tp } = options.world;
  const configs = { "config.json": options.config };
  const files = [];
  for (let rank = 0; rank < tp; rank++) {
    const checkpoint = await shareCheckpoint(stored, { ...options, rank });
    const found = await findQuantized(checkpoint, { configs });
    const label = `${title}, rank ${rank}`;
    report.equal(`${label}: problems`, [...found.problems, ...found.unsupported], []);
    report.equal(
      `${label}: weights`,
      new Set(found.weights.keys()),
      new Set(options.quantized.weights.keys()),
    );
    const expected = await expectedOf(rank);
    await checkDense(report, label, dequantized(checkpoint, found), expected);
    await expected.close();
    files.push({ file: `rank ${rank}`, rank, checkpoint });
  }
  checkBytes(report, title, stored, options);
  const { checkpoint: merged } = await mergeRanks(files);
  report.equal(`${title}: tensors, merged`, new Set(merged.keys()), new Set(stored.keys()));
  for (const tensor of stored) {
    const other = merged.get(tensor.name);
    report.equal(
      `${title}: ${tensor.name}, merged`,
      [other.dtype, ...other.shape],
      [tensor.dtype, ...tensor.shape],
    );
    report.check(`${title}: ${tensor.name}, merged`, await haveSameBytes(tensor, other), "other bytes");
  }
}

async function checkDense(report, title, ours, expected) {
  report.equal(`${title}: dense tensors`, new Set(ours.keys()), new Set(expected.keys()));
  for (const tensor of expected) {
    const { dtype, shape } = ours.get(tensor.name);
    report.equal(`${title}: ${tensor.name}`, [dtype, ...shape], [tensor.dtype, ...tensor.shape]);
    const isSame = await haveSameBytes(ours.get(tensor.name), tensor);
    report.check(`${title}: ${tensor.name}`, isSame, "other bytes");
  }
}

/**
 * The bytes of all ranks are those of the checkpoint and of what several ranks have; each has its own of what states a
 * shape.
 */
function checkBytes(report, title, stored, options) {
  const sum = (sizes) => sizes.reduce((total, size) => total + size, 0);
  const { ranks, wholeBytes } = worldTable(options, stored);
  const distinct = new Map();
  let [repeated, stated] = [0, 0];
  for (const { rank, bytes } of ranks) {
    const share = rankShare({ ...options, rank }, stored);
    const label = `${title}: bytes of rank ${rank}`;
    report.equal(label, bytes, sum(share.map(({ handle }) => handle.byteLength)));
    for (const { name, cut, handle, restated } of share) {
      const key = JSON.stringify([name, cut]);
      if (restated) {
        stated += handle.byteLength;
        distinct.set(name, stored.get(name).byteLength);
        repeated -= rank === 0 ? stored.get(name).byteLength : 0;
      } else if (distinct.has(key)) repeated += handle.byteLength;
      else distinct.set(key, handle.byteLength);
    }
  }
  report.equal(`${title}: bytes of what is distinct`, sum([...distinct.values()]), wholeBytes);
  const all = sum(ranks.map(({ bytes }) => bytes));
  report.equal(`${title}: bytes of all ranks`, all, wholeBytes + repeated + stated);
}

/** Where the usual rules ask for what the layout does not have, they say so; and no size of the world is said to be legal. */
function checkRefusal(report, title, options, stored) {
  const plan = planFor(options.config);
  for (const { tp, obstacles } of legalWorldSizes({ ...options, plan, upTo: 8 }, stored))
    report.equal(`${title}: ${tp} ranks by the usual rules`, obstacles.length === 0, tp === 1);
  let error;
  try {
    rankShare({ ...options, plan, world: { tp: 2 }, rank: 0 }, stored);
  } catch (thrown) {
    error = thrown;
  }
  const isSaid = error?.code === "INVALID_SLICE" && /multiples of \d+: ".*" of shape/.test(error.message);
  report.check(`${title}: cut by the usual rules`, isSaid, String(error));
}

async function haveSameBytes(one, other) {
  return Buffer.compare(await one.bytes(), await other.bytes()) === 0;
}
