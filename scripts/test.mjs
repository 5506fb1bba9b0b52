// Runs every test, or those whose path contains an argument: npm test -- torch
import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { prepare, ROOT, run } from "./prepare.mjs";

const wanted = process.argv.slice(2);
await prepare();

// The list comes from the sources, so that the compiled form of a deleted test is not run.
const tests = ["packages/safetensors", "packages/cli"].flatMap((folder) =>
  readdirSync(`${ROOT}${folder}/test`, { recursive: true })
    .filter((file) => file.endsWith(".test.ts"))
    .map((file) => `${folder}/dist/test/${file.replaceAll("\\", "/").replace(/\.ts$/, ".js")}`)
    .filter((file) => wanted.length === 0 || wanted.some((word) => file.includes(word))),
);
// Node leaves one processor idle by itself, which on two of them is half.
const concurrency = `--test-concurrency=${availableParallelism()}`;
run(process.execPath, ["--enable-source-maps", "--test", concurrency, ...tests]);
