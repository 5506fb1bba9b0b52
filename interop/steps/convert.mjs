import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runPython } from "../python.mjs";
import { readExpected } from "./goldens.mjs";
import { refusal } from "./refusals.mjs";

const COMMAND = fileURLToPath(new URL("../../packages/cli/bin/safetensors.js", import.meta.url));
const QUICKSTART = fileURLToPath(new URL("../../examples/quickstart/", import.meta.url));

/** Conversions with `--key`. */
const WITH_KEY = [
  { file: "two-state-dicts.pt", key: "generator" },
  { file: "two-state-dicts.pt", key: "" },
  { file: "training.pt", key: "optimizer" },
  { file: "training.pt", key: "" },
  { file: "deep.pt", key: "checkpoint" },
];

/** `safetensors convert` on every PyTorch checkpoint; torch compares each tensor of the result with the original. */
export async function convertCheckpoints(report, { python, work }) {
  mkdirSync(join(work, "converted"));
  const converted = [];
  for (const { name, source, stateDict, refused, options = [] } of checkpoints(work)) {
    const isSharded = source.endsWith(".json");
    const output = join(work, "converted", isSharded ? name : `${name}.safetensors`);
    const { status, stderr } = convert(isSharded ? dirname(source) : source, output, options);
    if (refused) {
      const message = `error ${refusal(refused).whenConverted}`;
      report.check(`${name} is refused`, status !== 0 && stderr.includes(message), stderr);
      report.check(`${name}: nothing is left behind`, !existsSync(output));
    } else {
      report.check(`${name} is converted`, status === 0, stderr);
      if (status === 0) converted.push({ name, source, output, stateDict });
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

/** All that make_torch_fixtures.py wrote, some of it once more with `--key`, and the files of the quickstart. */
export function checkpoints(work) {
  const expected = readExpected(join(work, "torch"));
  const source = (file) => join(work, "torch", file);
  return [
    ...Object.entries(expected).map(([file, { stateDict = "", refused }]) => ({
      name: file.replace("/", " "),
      source: source(file),
      stateDict,
      refused,
    })),
    ...WITH_KEY.map(({ file, key }) => ({
      name: `${file} with key ${key}`,
      source: source(file),
      stateDict: key,
      options: ["--key", key],
    })),
    { name: "quickstart", source: join(QUICKSTART, "pytorch_model.bin"), stateDict: "state_dict" },
    { name: "quickstart, hostile", source: join(QUICKSTART, "hostile.bin"), refused: "global:posix.system" },
  ];
}

/** Runs `safetensors convert` to its end. */
export function convert(source, output, options = []) {
  return spawnSync(process.execPath, [COMMAND, "convert", source, output, ...options], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  });
}
