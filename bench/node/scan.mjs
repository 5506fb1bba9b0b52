// Scans a file, or an address: once, and again as often as the last argument says.
import { openUrl } from "safetensors.js";
import { openFile } from "safetensors.js/node";
import { scan } from "safetensors.js/scan";
import { report } from "./report.mjs";

const [input, repeats = "0"] = process.argv.slice(2);
const times = [];
for (let run = 0; run <= Number(repeats); run++) {
  const start = performance.now();
  const source = await (/^https?:/.test(input) ? openUrl(input) : openFile(input, { blocking: true }));
  const { verdict, findings } = await scan(source, { file: input });
  times.push(performance.now() - start);
  await source.close?.();
  if (verdict !== "clean") throw new Error(`${input} is ${verdict}: ${JSON.stringify(findings.slice(0, 3))}`);
}
const [first, ...again] = times;
report({ first, again });
