// Opens a file and lists its names with one reader: once, then again for so many seconds, but three times at least.
import { createHash } from "node:crypto";
import { report } from "./report.mjs";

const [path, reader, seconds] = process.argv.slice(2);
const LEAST = 3;

const { list } = await import(`./list-${reader}.mjs`);
let names = [];

async function measure() {
  const start = performance.now();
  const opened = await list(path);
  const time = performance.now() - start;
  names = opened.names;
  await opened.close?.();
  return time;
}

const first = await measure();
const again = [];
const until = performance.now() + Number(seconds) * 1000;
while (Number(seconds) > 0 && (again.length < LEAST || performance.now() < until))
  again.push(await measure());
report({ first, again, names: createHash("sha256").update(names.sort().join("\n")).digest("hex") });
