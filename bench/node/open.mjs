// Opens a file and lists its names: once, then again as often as the second argument says.
import { createHash } from "node:crypto";
import { openPath } from "safetensors.js/node";
import { report } from "./report.mjs";

const [path, repeats] = process.argv.slice(2);
const times = [];
let names = [];
for (let run = 0; run <= Number(repeats); run++) {
  const start = performance.now();
  const checkpoint = await openPath(path);
  names = [...checkpoint.keys()];
  times.push(performance.now() - start);
  await checkpoint.close();
}
const [first, ...again] = times;
report({ first, again, names: createHash("sha256").update(names.sort().join("\n")).digest("hex") });
