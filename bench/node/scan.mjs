// Scans a file, or an address, once.
import { openUrl } from "safetensors.js";
import { openFile } from "safetensors.js/node";
import { scan } from "safetensors.js/scan";
import { report } from "./report.mjs";

const [input] = process.argv.slice(2);
const start = performance.now();
const source = await (/^https?:/.test(input) ? openUrl(input) : openFile(input, { blocking: true }));
const { verdict, findings } = await scan(source, { file: input });
const first = performance.now() - start;
await source.close?.();
if (verdict !== "clean") throw new Error(`${input} is ${verdict}: ${JSON.stringify(findings.slice(0, 3))}`);
report({ first });
