// Opens a file and reads one of its tensors, once.
import { createHash } from "node:crypto";
import { openPath } from "safetensors.js/node";
import { report } from "./report.mjs";

const [path] = process.argv.slice(2);
const start = performance.now();
const checkpoint = await openPath(path);
const data = await checkpoint.get("lm_head.weight").data();
const first = performance.now() - start;
await checkpoint.close();
report({ first, checksum: createHash("sha256").update(data).digest("hex") });
