// Kills saves and looks at what is left: node interop/crash.mjs [KILLS] [SEED] [SCENARIO...]. Build first: npm run build.

import { mkdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { failOnFullDisk } from "./crash/full-disk.mjs";
import { killAtEveryStep, killAtRandom } from "./crash/harness.mjs";
import { SCENARIOS } from "./crash/scenarios.mjs";
import { runStep } from "./report.mjs";
import { ensureVenv } from "./venv.mjs";

const [kills = "200", seed = "1", ...chosen] = process.argv.slice(2);
const names = chosen.length > 0 ? chosen : Object.keys(SCENARIOS);
const work = fileURLToPath(new URL(".work/crash/", import.meta.url));
rmSync(work, { recursive: true, force: true });
mkdirSync(work, { recursive: true });

const context = { python: ensureVenv(), work, names, kills: Number(kills), seed: Number(seed) };
const reports = [
  await runStep(`killed at ${kills} random moments`, killAtRandom, context),
  await runStep("killed before every step", killAtEveryStep, context),
  await runStep("a full disk", failOnFullDisk, context),
];
process.exitCode = reports.some(({ failed }) => failed > 0) ? 1 : 0;
