// Reads one tensor of a file on a server, once.
import { createHash } from "node:crypto";
import { open, openUrl } from "safetensors.js";
import { report } from "./report.mjs";

const [url] = process.argv.slice(2);
const start = performance.now();
const checkpoint = await open(await openUrl(url));
const bytes = await checkpoint.get("lm_head.weight").bytes();
const first = performance.now() - start;
report({ first, checksum: createHash("sha256").update(bytes).digest("hex") });
