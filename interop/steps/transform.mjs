import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runPython } from "../python.mjs";

const COMMAND = fileURLToPath(new URL("../../packages/cli/bin/safetensors.js", import.meta.url));

/**
 * `safetensors transform` with every recipe, forth and back: each file is, byte for byte, the one that torch and
 * safetensors write of the tensors that torch, or transformers itself, makes of the same.
 */
export async function transformCheckpoints(report, { python, work }) {
  const folder = join(work, "transform");
  mkdirSync(folder);
  const cases = JSON.parse(runPython(python, "make_transform_cases.py", [folder]));
  const names = JSON.parse(run(["transform", "--list", "--json"]).stdout).map(({ name }) => name);
  for (const name of names)
    report.check(
      `${name} is tried`,
      cases.some((one) => one.case === name),
    );
  for (const { case: name, recipe } of cases) {
    const [before, after, made, back] = ["before", "after", "made", "back"].map((file) => {
      return join(folder, name, `${file}.safetensors`);
    });
    const options = ["--recipe", recipe, "--config", join(folder, name, "config.json")];
    check(report, `${name}: what torch makes`, run(["transform", before, made, ...options]), made, after);
    // A recipe of a file of its own does what has no way back.
    if (!names.includes(name)) continue;
    const reverse = run(["transform", made, back, ...options, "--reverse"]);
    check(report, `${name}: and back`, reverse, back, before);
  }
}

function check(report, title, { stderr }, found, expected) {
  const isThere = existsSync(found);
  const isEqual = isThere && readFileSync(found).equals(readFileSync(expected));
  report.check(title, isEqual, isThere ? "the file has other bytes" : stderr);
}

function run(args) {
  return spawnSync(process.execPath, [COMMAND, ...args], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  });
}
