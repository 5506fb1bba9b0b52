import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { TensorHandle } from "safetensors.js";
import { openPath } from "safetensors.js/node";
import { joinShards, layerOf, parsePlan, planFor, rankShare, stageLayers } from "safetensors.js/parallel";
import { findQuantized } from "safetensors.js/quant";
import { runPython } from "../python.mjs";

/** The rules of DeepSeek's converter, of gpt-oss with its blocks, of Megatron, and of vLLM's pipeline stages. */
export async function checkRules(report, { python, work }) {
  const folder = join(work, "parallel-rules");
  mkdirSync(folder);
  const { cases, stages, partitions } = JSON.parse(runPython(python, "parallel_rules.py", [folder]));
  for (const one of cases) await report.try(one.case, () => checkCase(report, one));
  for (const [layers, count, expected] of stages)
    report.equal(`${layers} layers of ${count} stages`, rangesOf(stageLayers(layers, count)), expected);
  for (const [text, layers, count, expected] of partitions) {
    const counts = text.split(",").map(Number);
    report.equal(`${text}: ${layers} layers of ${count} stages`, listed(layers, count, counts), expected);
  }
}

function listed(layers, stages, counts) {
  try {
    return rangesOf(stageLayers(layers, stages, counts));
  } catch {
    return null;
  }
}

function rangesOf(ranges) {
  return ranges.map(({ start, stop }) => [start, stop]);
}

async function checkCase(report, { case: title, folder, worlds, config, plans }) {
  const whole = await openPath(join(folder, "whole.safetensors"));
  const quantized = await findQuantized(whole, { configs: { "config.json": config } });
  report.equal(`${title}: quantised weights are known`, quantized.problems, []);
  // Layers after the model's own predict further tokens: DeepSeek's converter leaves them out.
  const isOwn = ({ name }) => !(layerOf(name)?.index >= config.num_hidden_layers);
  const tensors = [...whole].filter(isOwn);
  for (const world of worlds) {
    const plan = plans ? parsePlan(plans[world]) : planFor(config);
    const shards = new Map(tensors.map(({ name }) => [name, []]));
    for (let rank = 0; rank < world; rank++) {
      const experts = title.startsWith("deepseek") ? { over: ["tp"], uneven: "strict" } : undefined;
      const options = { plan, config, world: { tp: world }, rank, quantized, ...(experts && { experts }) };
      const expected = await openPath(join(folder, `${world}-${rank}.safetensors`));
      const share = rankShare({ ...options, ...(experts && { uneven: "strict" }) }, tensors);
      const names = new Set(share.map(({ name }) => name));
      report.equal(`${title}: tensors of rank ${rank} of ${world}`, names, new Set(expected.keys()));
      for (const { name, handle, cut } of share) {
        shards.get(name).push({ view: handle.view, cut });
        const other = expected.get(name);
        const isEqual = `${handle.shape}` === `${other?.shape}` && (await haveSameBytes(handle, other));
        const shape = `[${handle.shape}], expected [${other?.shape}]`;
        report.check(`${title}: ${name}, rank ${rank} of ${world}`, isEqual, shape);
      }
      await expected.close();
    }
    for (const tensor of tensors) {
      const joined = new TensorHandle(tensor.name, joinShards(tensor.shape, shards.get(tensor.name)));
      report.check(`${title}: ${tensor.name} of ${world} ranks, joined`, await haveSameBytes(tensor, joined));
    }
  }
  if (title.startsWith("deepseek")) checkOtherPlan(report, title, config, tensors);
  await whole.close();
}

/** transformers' plan for the same model is another one by intent: there attention is not divided. */
function checkOtherPlan(report, title, config, tensors) {
  const [ours, theirs] = [planFor(config), planFor(config, { rules: "transformers" })];
  const isCut = (plan, { name, shape }) => plan.cut(name, shape, { rank: 0, world: 2 }).length > 0;
  const weights = tensors.filter(({ name }) => name.endsWith(".weight"));
  const differing = weights.filter((tensor) => isCut(ours, tensor) !== isCut(theirs, tensor));
  const modules = new Set(differing.map(({ name }) => name.split(".").at(-2)));
  report.equal(
    `${title}: what transformers leaves whole`,
    modules,
    new Set(["q_b_proj", "kv_b_proj", "o_proj"]),
  );
}

async function haveSameBytes(one, other) {
  return Buffer.compare(await one.bytes(), await other.bytes()) === 0;
}
