import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runPython } from "../python.mjs";
import { FIXTURES, readExpected } from "./goldens.mjs";

const COMMAND = fileURLToPath(new URL("../../packages/cli/bin/safetensors.js", import.meta.url));

/** Folders with tensors that torch's own consolidation cannot put together, and how it fails on integers. */
const BEYOND_TORCH = new Map([["dcp", /finfo/]]);

/**
 * Files of ranks that torch and others have just written, put together by the command: the tensors that they were made
 * from, as the reference reads them, and those that torch's own consolidation gives.
 */
export async function checkConsolidation(report, { python, work }) {
  const folder = join(work, "consolidate");
  runPython(python, "make_consolidate_fixtures.py", [folder]);
  const expected = readExpected(folder);
  report.equal("consolidate/expected.json", expected, readExpected(join(FIXTURES, "consolidate")));
  mkdirSync(join(work, "consolidated"));
  const cases = Object.keys(expected).map((name) => {
    return { name, input: join(folder, name), output: join(work, "consolidated", name) };
  });
  for (const { name, input, output } of cases) {
    const options = name === "vllm" ? ["--cuts", join(input, "cuts.json")] : [];
    const args = [COMMAND, "consolidate", input, output, "--max-shard-size", "1KB", ...options];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    report.check(`${name} is put together`, status === 0, stderr);
  }
  const found = JSON.parse(runPython(python, "compare_consolidated.py", [], JSON.stringify(cases)));
  for (const [name, { ours, torch, error }] of Object.entries(found)) {
    const original = expected[name].tensors.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    report.equal(`${name}: the original tensors`, ours, original);
    const failure = BEYOND_TORCH.get(name);
    if (failure) report.check(`${name}: torch cannot do it`, failure.test(error ?? ""), error ?? "it can");
    else if (!["deepseek", "vllm"].includes(name))
      report.equal(`${name}: what torch makes of it`, ours, torch);
  }
}
