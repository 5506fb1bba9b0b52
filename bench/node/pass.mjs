// Goes through all bytes of all tensors with chunks(), and does nothing with them.
import { openPath } from "safetensors.js/node";
import { report } from "./report.mjs";

const [path] = process.argv.slice(2);
const buffer = new Uint8Array(4 << 20);
let bytes = 0;
const start = performance.now();
const checkpoint = await openPath(path);
for (const tensor of checkpoint) {
  for await (const chunk of tensor.chunks(buffer)) bytes += chunk.length;
}
const read = performance.now() - start;
await checkpoint.close();
report({ read, bytes });
