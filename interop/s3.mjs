// Reads checkpoints from a real server that speaks S3: OpenStack Swift with s3api, from Debian's packages. Build first:
// npm run build. Use: node interop/s3.mjs [--install]. Exit code: 0 all is as expected, 1 it is not, 2 there is no
// Swift that could be used.

import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runPython } from "./python.mjs";
import { runStep } from "./report.mjs";
import * as check from "./s3/checks.mjs";
import { INSTALL, install, missing, withSwift } from "./s3/server.mjs";
import { ensureVenv } from "./venv.mjs";

const STEPS = [
  ["objects are made by boto3", check.upload],
  ["objects, whole tensors and parts", check.readObjects],
  ["a sharded checkpoint", check.readStore],
  ["lists", check.listNames],
  ["the region", check.findRegion],
  ["refusals", check.refuse],
  ["objects that change", check.notice],
];

if (process.argv.includes("--install") && missing()) install();
const problem = missing();
if (problem) {
  console.error(
    `there is no OpenStack Swift to run: ${problem}. On Debian or Ubuntu, as root:\n  ${INSTALL}`,
  );
  process.exitCode = 2;
} else {
  process.exitCode = await run();
}

/** Returns the exit code. */
async function run() {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "safetensors-s3-")));
  try {
    const files = join(folder, "files");
    mkdirSync(files);
    const expected = JSON.parse(runPython(ensureVenv(), "s3/write_checkpoints.py", [files]));
    const failed = await withSwift(join(folder, "swift"), (server) =>
      runSteps({ server, expected, folder: files }),
    );
    if (failed === undefined) console.error("Swift did not start: see above");
    return failed === undefined ? 2 : Math.min(failed, 1);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runSteps(context) {
  let failed = 0;
  for (const [title, step] of STEPS) failed += (await runStep(title, step, context)).failed;
  return failed;
}
