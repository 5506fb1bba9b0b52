// The main job on a real checkpoint: look at it, refuse a hostile one, convert it, look at the result.
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { prepare, ROOT } from "./prepare.mjs";

await prepare();

const FOLDER = "examples/quickstart";
rmSync(`${ROOT}${FOLDER}/out`, { recursive: true, force: true });
mkdirSync(`${ROOT}${FOLDER}/out`);

/** Shows and runs one `safetensors` command, which must end with the given status. */
function show(title, args, expected = 0) {
  console.log(`\n── ${title}\n$ npx safetensors ${args.join(" ")}\n`);
  const { status } = spawnSync(process.execPath, ["packages/cli/bin/safetensors.js", ...args], {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (status === expected) return;
  console.error(`\nThis should have ended with exit status ${expected}, but it was ${status}.`);
  process.exit(1);
}

show("A checkpoint that PyTorch wrote: what is in it, and what would its pickle run?", [
  "inspect",
  `${FOLDER}/pytorch_model.bin`,
]);
show(
  "A checkpoint that would run a command when loaded: refused (exit status 1)",
  ["check", `${FOLDER}/hostile.bin`],
  1,
);
show("Converted without running any code of the file", [
  "convert",
  `${FOLDER}/pytorch_model.bin`,
  `${FOLDER}/out/model.safetensors`,
]);
show("The result is valid", ["check", `${FOLDER}/out/model.safetensors`]);
show("And this is what it holds", ["inspect", `${FOLDER}/out/model.safetensors`]);
console.log(`\nNext: npx safetensors --help, or npm test. The file is ${FOLDER}/out/model.safetensors.`);
