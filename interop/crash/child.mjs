// node child.mjs SCENARIO FOLDER FIRST COUNT: writes generations, one over the other, and says so before and after each.

import { readdirSync, writeSync } from "node:fs";
import { SCENARIOS } from "./scenarios.mjs";

const [scenario, folder, first, count] = process.argv.slice(2);
const { write, files } = SCENARIOS[scenario];

globalThis.killsFromHere?.();
for (let generation = Number(first); generation < Number(first) + Number(count); generation++) {
  writeSync(1, `begun ${generation}\n`);
  await write(folder, generation);
  const [found, expected] = [readdirSync(folder), files(generation)].map((names) => names.sort().join(" "));
  if (found !== expected) writeSync(1, `stray ${found}, expected ${expected}\n`);
  writeSync(1, `done ${generation}\n`);
}
