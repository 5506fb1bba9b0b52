import { join } from "node:path";
import { ensureRuntimes, PLATFORMS } from "../runtimes/installed.mjs";
import { runRuntimes } from "../runtimes/run.mjs";

/** The library in Node 20 to 26, Bun and Deno: the same checks give the same everywhere. See runtimes.mjs. */
export async function checkRuntimes(report, { work }) {
  const runtimes = ensureRuntimes();
  report.check("the runtimes for this platform", runtimes, `known are those for ${PLATFORMS.join(", ")}`);
  for (const { name, checks } of await runRuntimes(runtimes ?? [], join(work, "runtimes"))) {
    for (const [check, problem] of Object.entries(checks)) {
      report.check(`${name}, ${check}`, problem === undefined, problem);
    }
  }
}
