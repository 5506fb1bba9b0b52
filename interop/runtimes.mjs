// Runs the built library in Node 20, 22, 24 and 26, Bun and Deno, and compares what they read and write:
// npm run runtimes. Build it first: npm run build. The runtimes are installed into interop/.runtimes, about 800 MB.

import { fileURLToPath } from "node:url";
import { ensureRuntimes, PLATFORMS } from "./runtimes/installed.mjs";
import { runRuntimes } from "./runtimes/run.mjs";
import { printOutcomes } from "./runtimes/table.mjs";

const runtimes = ensureRuntimes();
if (runtimes) {
  const work = fileURLToPath(new URL(".work/runtimes/", import.meta.url));
  const failures = printOutcomes(await runRuntimes(runtimes, work));
  process.exitCode = failures === 0 ? 0 : 1;
} else {
  const platform = `${process.platform}-${process.arch}`;
  console.log(`NOT CHECKED: no runtimes are known here for ${platform}, only for ${PLATFORMS.join(", ")}`);
  process.exitCode = 2;
}
