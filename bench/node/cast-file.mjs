// Casts all tensors of a file to F32 and writes them to another. `work` leaves the imports out, `flush` is that part of it
// in which the file is written to the disk.
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { report } from "./report.mjs";

let flush = 0;
const { fsyncSync } = fs;
fs.fsyncSync = (fd) => {
  const start = performance.now();
  fsyncSync(fd);
  flush += performance.now() - start;
};
syncBuiltinESMExports();
const { castTensor } = await import("safetensors.js/save");
const { openPath, saveFile } = await import("safetensors.js/node");

const [source, target] = process.argv.slice(2);
const start = performance.now();
const checkpoint = await openPath(source);
await saveFile(
  target,
  Array.from(checkpoint, (tensor) => [tensor.name, castTensor(tensor, "F32")]),
);
await checkpoint.close();
report({ work: performance.now() - start, flush });
