import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { saveCheckpoint } from "safetensors.js/node";
import { withCheckpoint } from "../compare.mjs";
import { runPython, sha256 } from "../python.mjs";

const COMMAND = fileURLToPath(new URL("../../packages/cli/bin/safetensors.js", import.meta.url));
/** Every so many checkpoints are also split by the command, which takes its time to start. */
const BY_COMMAND = 8;

const INDEX = "model.safetensors.index.json";

/** Checkpoints in several files: ours are those of huggingface_hub, byte for byte, and the loaders of the field open them. */
export async function checkShards(report, { python, work }) {
  const folder = join(work, "shards");
  mkdirSync(folder);
  const cases = JSON.parse(runPython(python, "sharded.py", ["write", folder]));
  for (const [name, { names, size }] of Object.entries(cases)) {
    await report.try(name, () => compareSplit(report, folder, name, names, size));
  }
  const resplit = Object.keys(cases).filter((_, place) => place % BY_COMMAND === 0);
  for (const name of resplit) {
    const [input, output] = [join(folder, `${name}.safetensors`), join(folder, `${name}-split`)];
    run(report, ["split", input, output, "--max-size", `${cases[name].size}B`]);
  }
  const folders = resplit.map((name) => join(folder, `${name}-split`));
  const found = JSON.parse(runPython(python, "sharded.py", ["read", ...folders]));
  for (const name of resplit) {
    await report.try(`${name}: loaded by huggingface_hub`, () =>
      withCheckpoint(join(folder, `${name}.safetensors`), async (checkpoint) => {
        const expected = {};
        for (const tensor of checkpoint) expected[tensor.name] = sha256(await tensor.bytes());
        report.equal(`${name}: loaded by huggingface_hub`, sorted(found[`${name}-split`]), sorted(expected));
      }),
    );
  }
  checkModel(report, python, folder);
}

/** The same tensors in the same order, split at the same size; and split by the command, in the order of the file. */
async function compareSplit(report, folder, name, names, size) {
  const [theirs, ours] = [join(folder, name), join(folder, `${name}-ours`)];
  const one = join(folder, `${name}.safetensors`);
  await withCheckpoint(one, (checkpoint) => {
    const tensors = names.map((tensor) => [tensor, checkpoint.get(tensor)]);
    return saveCheckpoint(ours, tensors, { maxShardSize: size, order: "given", metadata: { format: "pt" } });
  });
  report.equal(`${name}: files`, readdirSync(ours).sort(), readdirSync(theirs).sort());
  for (const file of readdirSync(theirs)) {
    const [a, b] = [theirs, ours].map((place) => readFileSync(join(place, file)));
    if (file !== INDEX) report.check(`${name}: ${file}`, a.equals(b), "the bytes differ");
    else compareIndex(report, name, JSON.parse(a), JSON.parse(b));
  }
}

function compareIndex(report, name, theirs, ours) {
  report.equal(`${name}: weight_map`, sorted(ours.weight_map), sorted(theirs.weight_map));
  report.equal(`${name}: total_size`, ours.metadata.total_size, theirs.metadata.total_size);
}

/** What the commands make of a model of transformers is that model, to `from_pretrained`. */
function checkModel(report, python, folder) {
  const model = join(folder, "gpt2");
  runPython(python, "sharded.py", ["model", model]);
  report.check("gpt2: one file", existsSync(join(model, "model.safetensors")));
  const made = [
    ["split", model, join(folder, "gpt2-split"), "--max-size", "40KB"],
    ["split", model, join(folder, "gpt2-files"), "--files", "3"],
    ["split", model, join(folder, "gpt2-layers"), "--by-layer"],
    ["split", model, join(folder, "gpt2-tight"), "--tight", "--max-size", "40KB"],
    ["merge", join(folder, "gpt2-split"), "--output", join(folder, "gpt2-merged")],
  ];
  const outputs = made.map(([command, ...args]) => {
    run(report, [command, ...args]);
    const output = args[command === "merge" ? 2 : 1];
    cpSync(join(model, "config.json"), join(output, "config.json"));
    return output;
  });
  const found = JSON.parse(runPython(python, "sharded.py", ["load", model, ...outputs]));
  report.equal(
    "gpt2: folders",
    Object.keys(found),
    outputs.map((output) => basename(output)),
  );
  for (const [name, loaded] of Object.entries(found)) {
    report.equal(`${name}: loaded`, loaded, { ...loaded, different: [], missing: [], unexpected: [] });
    report.check(`${name}: has parameters`, loaded.parameters > 30);
  }
  checkReshaped(report, python, folder, join(model, "model.safetensors"));
  const [a, b] = ["gpt2", "gpt2-merged"].map((name) => readFileSync(join(folder, name, "model.safetensors")));
  report.check("gpt2: merged is what was split", a.equals(b));
}

/** What some commands make of a file is what Python makes of it. */
function checkReshaped(report, python, folder, original) {
  const made = ["extracted", "renamed", "cast"].map((name) => join(folder, `${name}.safetensors`));
  const [extracted, renamed, cast] = made;
  run(report, ["extract", original, extracted, "--regex", "\\.h\\.1\\."]);
  run(report, ["rename", original, renamed, "--sub", "s/^transformer\\./model./"]);
  run(report, ["cast", original, cast, "--dtype", "BF16", "--exclude", "*ln_*"]);
  const found = JSON.parse(runPython(python, "sharded.py", ["reshaped", original, ...made]));
  for (const [name, [count, isSame]] of Object.entries(found))
    report.check(`gpt2: ${name}`, isSame && count > 5, `${count} tensors`);
  report.equal("gpt2: reshaped files", Object.keys(found).length, made.length);
}

function run(report, args) {
  const { status, stderr } = spawnSync(process.execPath, [COMMAND, ...args, "--quiet"], { encoding: "utf8" });
  report.check(args.join(" "), status === 0 && stderr === "", stderr);
}

function sorted(record) {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
}
