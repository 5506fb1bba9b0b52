// Opens a file and lists its names with one reader: once, then again for so many seconds, but three times at least.
import { createHash } from "node:crypto";
import { report } from "./report.mjs";

const [path, reader, seconds] = process.argv.slice(2);
const LEAST = 3;

const { list } = await import(`./list-${reader}.mjs`);
const times = [];
let names = [];
const until = performance.now() + Number(seconds) * 1000;
while (times.length === 0 || (Number(seconds) > 0 && (times.length <= LEAST || performance.now() < until))) {
  const start = performance.now();
  const opened = await list(path);
  times.push(performance.now() - start);
  names = opened.names;
  await opened.close?.();
}
const [first, ...again] = times;
report({ first, again, names: createHash("sha256").update(names.sort().join("\n")).digest("hex") });
