import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runPython } from "../python.mjs";

const COMMAND = fileURLToPath(new URL("../../packages/cli/bin/safetensors.js", import.meta.url));

const WORLDS = [
  { tp: 1, pp: 1 },
  { tp: 2, pp: 1 },
  { tp: 4, pp: 1 },
  { tp: 1, pp: 4 },
  { tp: 2, pp: 3 },
];

/**
 * Files of ranks by `safetensors shard`: the reference opens them and finds the slices that belong there, and
 * `safetensors merge --ranks` makes the file of them that they were made of. What DeepSeek's rule, in Python, makes of
 * another model becomes that model's file again.
 */
export async function checkShares(report, { python, work }) {
  const folder = join(work, "shard");
  runPython(python, "shard_models.py", [folder]);
  const model = join(folder, "model");
  const cases = WORLDS.map(({ tp, pp }) => {
    const ranks = join(folder, `tp${tp}-pp${pp}`);
    run(report, ["shard", model, "--tp", `${tp}`, "--pp", `${pp}`, "--out", ranks]);
    const back = join(folder, `tp${tp}-pp${pp}.safetensors`);
    run(report, ["merge", "--ranks", ranks, "--output", back]);
    sameFile(report, back, join(model, "model.safetensors"));
    return { folder: ranks, model, tp, pp };
  });
  const found = JSON.parse(runPython(python, "shard_slices.py", [], JSON.stringify(cases)));
  for (const { file, wrong, tensors } of found) {
    report.equal(`${file}: tensors that are not what torch cuts`, wrong, []);
    report.check(`${file} has tensors`, tensors > 0);
  }

  const merged = join(folder, "merged.safetensors");
  const plan = ["--plan", join(folder, "deepseek.json")];
  run(report, ["merge", "--ranks", join(folder, "deepseek"), ...plan, "--output", merged]);
  sameFile(report, merged, join(folder, "deepseek.safetensors"));
}

function run(report, args) {
  const { status, stderr } = spawnSync(process.execPath, [COMMAND, ...args], { encoding: "utf8" });
  report.check(args.join(" "), status === 0, stderr);
}

function sameFile(report, found, expected) {
  const isSame = existsSync(found) && readFileSync(found).equals(readFileSync(expected));
  report.check(`${found} is, byte for byte, ${expected}`, isSame);
}
