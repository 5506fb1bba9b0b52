// Loaded ahead of the command (node --import): at its end tells the peak memory, and the time spent in flushing.
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
process.on("exit", () => report({ flush }));
