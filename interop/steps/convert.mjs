import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runPython } from "../python.mjs";
import { readExpected } from "./goldens.mjs";

const COMMAND = fileURLToPath(new URL("../../packages/cli/bin/safetensors.js", import.meta.url));
const QUICKSTART = fileURLToPath(new URL("../../examples/quickstart/", import.meta.url));

/** `safetensors convert` on every PyTorch checkpoint; torch compares each tensor of the result with the original. */
export async function convertCheckpoints(report, { python, work }) {
  const output = join(work, "converted");
  mkdirSync(output);
  const converted = [];
  for (const { name, source, stateDict, refused } of checkpoints(work)) {
    const isSharded = source.endsWith(".json");
    const target = join(output, isSharded ? name : `${name}.safetensors`);
    const { status, stderr } = convert(isSharded ? dirname(source) : source, target);
    if (refused) {
      report.check(`${name} is refused`, status !== 0 && stderr !== "", `exit code ${status}`);
      report.check(`${name}: nothing is left behind`, !existsSync(target));
    } else {
      report.check(`${name} is converted`, status === 0, stderr);
      if (status === 0) converted.push({ name, source, output: target, stateDict });
    }
  }
  const results = JSON.parse(runPython(python, "compare_converted.py", [], JSON.stringify(converted)));
  for (const [index, { equal, problems }] of results.entries()) {
    const { name } = converted[index];
    for (const tensor of equal) report.check(`${name}: ${tensor}`, true);
    for (const problem of problems) report.check(name, false, problem);
    report.check(`${name}: some tensor was compared`, equal.length > 0);
  }
}

/** The checkpoints to convert: all that make_torch_fixtures.py wrote, and those of the quickstart. */
function checkpoints(work) {
  const fixtures = Object.entries(readExpected(join(work, "torch"))).map(([file, entry]) => ({
    name: file.replace("/", " "),
    source: join(work, "torch", file),
    stateDict: entry.stateDict ?? "",
    refused: entry.refused ?? Object.keys(entry.unreadable ?? {}).length > 0,
  }));
  const quickstart = [
    {
      name: "quickstart",
      source: join(QUICKSTART, "pytorch_model.bin"),
      stateDict: "state_dict",
      refused: false,
    },
    { name: "quickstart, hostile", source: join(QUICKSTART, "hostile.bin"), stateDict: "", refused: true },
  ];
  return [...fixtures, ...quickstart];
}

function convert(source, target) {
  return spawnSync(process.execPath, [COMMAND, "convert", source, target], { encoding: "utf8" });
}
