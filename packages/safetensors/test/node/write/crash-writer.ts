// node crash-writer.js FOLDER FIRST: writes checkpoints, one over the other, until it is killed.

import { writeSync } from "node:fs";
import { visiblePaths, writeGeneration } from "./generations.ts";

const [folder = "", first] = process.argv.slice(2);
for (let generation = Number(first); ; generation++) {
  writeSync(1, `${generation}\n`);
  const retire = visiblePaths(folder);
  await writeGeneration(folder, generation, 1 + (generation % 3), { retire });
  const left = visiblePaths(folder).length;
  if (left !== [1, 3, 4][generation % 3]) writeSync(1, `${left} files\n`);
}
