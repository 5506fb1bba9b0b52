// Opens a file and lists its names with one reader: once, then again as often as the last argument says.
import { createHash } from "node:crypto";
import { report } from "./report.mjs";

const [path, reader, repeats] = process.argv.slice(2);
const { list } = await import(`./list-${reader}.mjs`);
const times = [];
let names = [];
for (let run = 0; run <= Number(repeats); run++) {
  const start = performance.now();
  const opened = await list(path);
  times.push(performance.now() - start);
  names = opened.names;
  await opened.close?.();
}
const [first, ...again] = times;
report({ first, again, names: createHash("sha256").update(names.sort().join("\n")).digest("hex") });
