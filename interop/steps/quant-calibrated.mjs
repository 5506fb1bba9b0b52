import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openPath } from "safetensors.js/node";
import {
  awqCodes,
  awqFoldings,
  awqLimits,
  awqScales,
  CalibrationStatistics,
  gptq,
  roundToNearest,
  squaredErrors,
} from "safetensors.js/quantize";
import { runPython } from "../python.mjs";

/**
 * Weights quantised with calibration: the codes, scales and zero points of the published algorithms; outputs for inputs
 * that were not calibrated with, better than those of rounding by as much as is known of them; and the statistics that the
 * example's program collects from a model.
 */
export async function checkCalibrated(report, { python, work }) {
  const folder = join(work, "calibrated");
  mkdirSync(folder);
  const cases = JSON.parse(runPython(python, "quant_calibrated.py", ["cases", folder]));
  const expected = await openPath(join(folder, "cases.safetensors"));
  const file = await openPath(join(folder, "statistics.safetensors"));
  const statistics = await new CalibrationStatistics(file).read("x");
  const known = {
    ...statistics,
    weight: await expected.get("weight").data(),
    other: await expected.get("other").data(),
    heldOut: await expected.get("held_out").data(),
  };
  const found = new Map();
  for (const [index, one] of cases.entries()) {
    const title = JSON.stringify(one);
    const golden = (name) => expected.get(`${one.kind}.${index}.${name}`).data();
    const check = one.kind === "gptq" ? checkGptq : checkAwq;
    await report.try(title, async () => found.set(title, await check(report, title, one, golden, known)));
  }
  checkQuality(report, cases, [...found.values()], known);
  await expected.close();
  await file.close();
  await checkCollected(report, join(folder, "model"), python);
}

async function checkGptq(report, title, one, golden, { weight, xtx, absMean, heldOut }) {
  const columns = absMean.length;
  const hessian = withoutInputs(xtx, columns, one.dead);
  const result = gptq({ weight, hessian, columns, ...one });
  const { codes, scales, zeros } = result;
  const groups = await golden("groups");
  report.equal(`${title}: groups`, groupsOf(result.groups, columns), [...groups]);
  // Where a value lies between two codes, another order of additions may choose the other.
  checkShare(report, `${title}: codes`, codes, await golden("codes"), 1e-4);
  checkShare(report, `${title}: scales`, scales, await golden("scales"), 0.05);
  checkShare(report, `${title}: zeros`, zeros, await golden("zeros"), 1e-3);
  const reference = { ...result, codes: await golden("codes"), scales: await golden("scales"), groups };
  const error = outputError(result, weight, hessian);
  checkNear(report, `${title}: output error`, error, outputError(reference, weight, hessian), 1e-3);
  checkNear(report, `${title}: output error, as the solver says`, result.error.after, error, 1e-6);
  const plain = roundToNearest(weight, columns, one);
  const before = outputError(plain, weight, hessian);
  // Weights of inputs that are always zero are zero before they are rounded, and so no part of their group's range.
  if (one.dead.length === 0)
    checkNear(report, `${title}: error of rounding`, result.error.before, before, 1e-6);
  return { error: outputError(result, weight, heldOut), plain: outputError(plain, weight, heldOut) };
}

async function checkAwq(report, title, one, golden, { weight, other, xtx, absMean, heldOut }) {
  const input = { weights: [weight, other], hessian: xtx, absMean, ...one, duoScaling: one.duo };
  const { scale, ratio, loss } = awqScales(input);
  const [before, ...losses] = one.losses;
  const least = Math.min(before, ...losses);
  report.equal(`${title}: ratio`, ratio, least === before ? undefined : losses.indexOf(least) / 20);
  checkNear(report, `${title}: loss before`, loss.before, before, 1e-4);
  checkNear(report, `${title}: loss after`, loss.after, least, 1e-4);
  const goldenScale = await golden("scale");
  report.check(
    `${title}: scale`,
    scale.every((value, i) => Math.abs(value / goldenScale[i] - 1) < 1e-6),
  );
  const limits = awqLimits(weight, scale, xtx, one);
  checkShare(report, `${title}: limits`, limits, await golden("clip"), 2e-3, 1e-6);
  const result = awqCodes(weight, scale, one, limits);
  checkShare(report, `${title}: codes`, result.codes, await golden("codes"), 2e-3);
  checkShare(report, `${title}: scales`, result.scales, await golden("scales"), 2e-3, 1e-6);
  checkShare(report, `${title}: zeros`, result.zeros, await golden("zeros"), 2e-3);
  const flat = awqCodes(weight, new Float32Array(scale.length).fill(1), one);
  return {
    error: outputError(result, weight, heldOut, scale),
    unclipped: outputError(awqCodes(weight, scale, one), weight, heldOut, scale),
    plain: outputError(flat, weight, heldOut),
  };
}

/** What calibration is for: errors of outputs next to those of rounding, root of the squares, on inputs not seen before. */
function checkQuality(report, cases, found, { weight, absMean, heldOut }) {
  const of = (wanted) => {
    const index = cases.findIndex((one) =>
      Object.entries(wanted).every(([key, value]) => one[key] === value),
    );
    const { error, plain, unclipped } = found[index];
    return { error: Math.sqrt(error), plain: Math.sqrt(plain), unclipped: Math.sqrt(unclipped) };
  };
  const base = { kind: "gptq", bits: 4, group: 128, symmetric: true, actOrder: false };
  const atMost = (name, value, most) =>
    report.check(name, value <= most, `${value}, expected at most ${most}`);
  for (const wanted of [base, { ...base, bits: 3 }, { ...base, symmetric: false }, { ...base, group: 32 }]) {
    const { error, plain } = of(wanted);
    atMost(`GPTQ next to rounding, ${JSON.stringify(wanted)}`, error / plain, 0.55);
  }
  for (const wanted of [base, { ...base, bits: 3 }, { ...base, symmetric: false }, { ...base, group: 32 }]) {
    const ordered = of({ ...wanted, actOrder: true }).error;
    atMost(`act-order next to none, ${JSON.stringify(wanted)}`, ordered / of(wanted).error, 1.02);
  }
  const byBits = [8, 4, 3].map((bits) => of({ ...base, bits }).error);
  for (const i of [1, 2]) atMost(`errors fall with bits, ${i}`, byBits[i - 1], byBits[i]);
  const byGroup = [32, 128, 256, -1].map((group) => of({ ...base, group }).error);
  for (const i of [1, 2, 3]) atMost(`errors fall with smaller groups, ${i}`, byGroup[i - 1], byGroup[i]);
  const asymmetric = of({ kind: "awq", bits: 4, symmetric: false, duo: true });
  atMost("AWQ next to rounding", asymmetric.error / asymmetric.plain, 0.85);
  atMost("AWQ with limits next to none", asymmetric.error, asymmetric.unclipped * 1.02);
  const symmetric = of({ kind: "awq", bits: 4, symmetric: true });
  atMost("AWQ next to rounding, symmetric", symmetric.error / symmetric.plain, 0.9);
  const rounded = roundToNearest(weight, absMean.length, base);
  report.check("rounding loses something", outputError(rounded, weight, heldOut) > 0);
}

/** The example's program and a small model: every linear layer's statistics, those of its inputs. */
async function checkCollected(report, folder, python) {
  mkdirSync(folder);
  const { modelType, statistics, expected } = JSON.parse(
    runPython(python, "quant_calibrated.py", ["collect", folder]),
  );
  const file = await openPath(statistics);
  const found = new CalibrationStatistics(file);
  report.equal("collected: modules", [...found.modules()].sort(), Object.keys(expected).sort());
  for (const [module, { count, trace, sum, absMean, absMax }] of Object.entries(expected)) {
    await report.try(`collected: ${module}`, async () => {
      const read = await found.read(module);
      const { length } = read.absMean;
      report.equal(`collected: tokens of ${module}`, read.count, count);
      const total = (values) => values.reduce((all, value) => all + value, 0);
      const diagonal = Float64Array.from({ length }, (_, i) => read.xtx[i * length + i]);
      checkNear(report, `collected: squares of ${module}`, total(diagonal), trace, 1e-4);
      checkNear(report, `collected: products of ${module}`, total(Float64Array.from(read.xtx)), sum, 1e-3);
      checkNear(
        report,
        `collected: means of ${module}`,
        total(Float64Array.from(read.absMean)),
        absMean,
        1e-4,
      );
      checkNear(
        report,
        `collected: maxima of ${module}`,
        total(Float64Array.from(read.absMax)),
        absMax,
        1e-5,
      );
    });
  }
  await file.close();
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
  report.equal("collected: the model's kind", config.model_type, modelType);
  const model = await openPath(folder);
  const foldings = awqFoldings(modelType, new Map(Array.from(model, ({ name, shape }) => [name, shape])));
  const quantised = new Set(foldings.flatMap((folding) => folding.quantised));
  for (const { quantised: modules } of foldings) {
    const owners = new Set(modules.map((module) => found.owner(module)));
    report.equal(`collected: one input for ${modules}`, owners, new Set([found.owner(modules[0])]));
  }
  const linears = Object.keys(expected).filter(
    (module) => module !== "lm_head" && !module.endsWith("o_proj"),
  );
  for (const module of linears) report.check(`collected: ${module} is folded`, quantised.has(module));
  await model.close();
}

function withoutInputs(xtx, columns, dead) {
  const copy = xtx.slice();
  for (const input of dead)
    for (let i = 0; i < columns; i++) copy[input * columns + i] = copy[i * columns + input] = 0;
  return copy;
}

function groupsOf(groups, columns) {
  return Array.from({ length: columns }, (_, k) =>
    typeof groups === "number" ? Math.floor(k / groups) : groups[k],
  );
}

/** The squared error of the outputs of a weight that was quantised, its inputs multiplied by `scale` before. */
function outputError({ shape: [rows, columns], codes, scales, zeros, groups }, weight, hessian, scale) {
  const group = groupsOf(groups, columns);
  const errors = new Float64Array(weight.length);
  for (let at = 0; at < errors.length; at++) {
    const row = Math.floor(at / columns);
    const grid = group[at % columns] * rows + row;
    const value = (codes[at] - zeros[grid]) * scales[grid];
    errors[at] = weight[at] - value / (scale?.[at % columns] ?? 1);
  }
  return squaredErrors(errors, rows, hessian, columns).reduce((sum, error) => sum + error, 0);
}

/** Values that are the same, or within a share of each other, but for a share of them. */
function checkShare(report, name, actual, expected, share, within = 0) {
  report.equal(`${name}: how many`, actual.length, expected.length);
  let different = 0;
  for (const [i, value] of actual.entries())
    if (Math.abs(value - expected[i]) > within * Math.abs(expected[i])) different++;
  const detail = `${different} of ${actual.length} differ`;
  report.check(name, different <= share * actual.length, detail);
}

function checkNear(report, name, actual, expected, within) {
  const ok = Math.abs(actual - expected) <= within * Math.abs(expected);
  report.check(name, ok, `${actual}, expected ${expected}`);
}
