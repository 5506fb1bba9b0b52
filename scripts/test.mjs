// Runs every test, or those whose path contains an argument: npm test -- torch
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname } from "node:path";
import { pathToFileURL } from "node:url";
import { prepare, ROOT, run } from "./prepare.mjs";

/** Folders of many short tests that share no state: each is one process, as starting one takes longer than most of them. */
const TOGETHER =
  /\/(?:checkpoint|compare|consolidate|dtype|format|kernels|manifest|numpy|parallel|quant|save|torch|transform|view|zip)(?:\/|$)/;

const wanted = process.argv.slice(2);
await prepare();

// The list comes from the sources, so that the compiled form of a deleted test is not run.
const tests = ["packages/safetensors", "packages/cli"].flatMap((folder) =>
  readdirSync(`${ROOT}${folder}/test`, { recursive: true })
    .filter((file) => file.endsWith(".test.ts"))
    .map((file) => `${folder}/dist/test/${file.replaceAll("\\", "/").replace(/\.ts$/, ".js")}`)
    .filter((file) => wanted.length === 0 || wanted.some((word) => file.includes(word))),
);
// One more than there are processors, as some tests wait; Node leaves one idle by itself, which on two of them is half.
const concurrency = `--test-concurrency=${availableParallelism() + 1}`;
const programs = wanted.length === 0 ? gathered(tests) : tests;
run(process.execPath, ["--enable-source-maps", "--test", concurrency, ...programs]);

/** The same tests as fewer programs. */
function gathered(files) {
  const folder = `${ROOT}packages/safetensors/dist/test-programs`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  const programs = new Map();
  for (const file of files) {
    const place = dirname(file);
    const program = TOGETHER.test(place)
      ? `${folder}/${place.split("/dist/test/")[1].replaceAll("/", "-")}.mjs`
      : file;
    programs.set(program, [...(programs.get(program) ?? []), file]);
  }
  for (const [program, parts] of programs) {
    if (parts.length > 1 || program !== parts[0])
      writeFileSync(program, parts.map((file) => `import "${pathToFileURL(ROOT + file)}";\n`).join(""));
  }
  return [...programs.keys()];
}
