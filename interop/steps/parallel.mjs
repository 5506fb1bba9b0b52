import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { TensorHandle } from "safetensors.js";
import { openPath } from "safetensors.js/node";
import { expertPartOf, joinShards, ParallelPlan, planFor, rankShare } from "safetensors.js/parallel";
import { runPython } from "../python.mjs";

/**
 * Models cut for 2, 4 and 8 ranks, and their experts spread over them: by transformers' plans what transformers
 * itself keeps of each tensor on each rank, by the rules of vLLM what torch makes of their definitions. All ranks
 * together are the checkpoint again.
 */
export async function checkParallel(report, { python, work }) {
  const folder = join(work, "parallel");
  mkdirSync(folder);
  for (const one of JSON.parse(runPython(python, "parallel_cases.py", [folder]))) {
    await report.try(one.case, () => checkCase(report, one));
  }
}

async function checkCase(report, { case: title, folder, rules, config, worlds, stacked = [] }) {
  const whole = await openPath(join(folder, "whole.safetensors"));
  const plan = planFor(config, { rules, ...(rules === "vllm" && { vocabularyMultiple: 64 }) });
  for (const [axis, size] of worlds) {
    const shards = new Map(Array.from(whole, ({ name }) => [name, []]));
    for (let rank = 0; rank < size; rank++) {
      const expected = await openPath(join(folder, `${axis}-${size}-${rank}.safetensors`));
      const share = rankShare({ plan, config, world: { [axis]: size }, rank }, whole);
      const names = new Set(share.map(({ name }) => name));
      report.equal(`${title}: tensors of ${axis} rank ${rank} of ${size}`, names, new Set(expected.keys()));
      for (const { name, handle, cut } of share) {
        shards.get(name).push({ view: handle.view, cut });
        const other = expected.get(name);
        const shape = `[${handle.shape}], expected [${other.shape}]`;
        const isEqual = `${handle.shape}` === `${other.shape}` && (await haveSameBytes(handle, other));
        report.check(`${title}: ${name}, ${axis} rank ${rank} of ${size}`, isEqual, shape);
      }
      await expected.close();
    }
    for (const tensor of whole) {
      const joined = new TensorHandle(tensor.name, joinShards(tensor.shape, shards.get(tensor.name)));
      report.check(
        `${title}: ${tensor.name} of ${size} ${axis} ranks, joined`,
        await haveSameBytes(tensor, joined),
      );
    }
  }
  const experts = new ParallelPlan(stacked.map((pattern) => [pattern, "grouped_gemm"]));
  for (const { name } of stacked.length > 0 ? whole : []) {
    const isStacked = experts.styleOf(name) !== undefined;
    report.equal(`${title}: ${name} is stacked`, expertPartOf(name)?.kind === "all", isStacked);
  }
  await whole.close();
}

async function haveSameBytes(one, other) {
  return Buffer.compare(await one.bytes(), await other.bytes()) === 0;
}
