// Reads a checkpoint through a real nginx, set up in many ways: node interop/nginx.mjs [case ...]. Build first: npm run
// build. Whatever nginx does, reads give the right bytes or an error with a code. Exit code: 0 all is as expected, 1 it
// is not, 2 there is no nginx that could be used.

import { existsSync, mkdtempSync, realpathSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { casesFor } from "./nginx/cases.mjs";
import { checkOutcome } from "./nginx/checks.mjs";
import { configuration } from "./nginx/config.mjs";
import { readEverything } from "./nginx/reading.mjs";
import { writeCheckpoint, writeFiles } from "./nginx/served.mjs";
import { findNginx, freePorts, Nginx, refuses } from "./nginx/server.mjs";
import { showTable } from "./nginx/table.mjs";
import { startUpstream } from "./nginx/upstream.mjs";
import { runStep } from "./report.mjs";

const INSTALL = `there is no nginx on the PATH. Install it:
  Debian, Ubuntu  apt-get install nginx-light
  Fedora          dnf install nginx
  Alpine          apk add nginx
  macOS           brew install nginx`;

/** Waits that are short enough for a test; a case may want others. */
const OPTIONS = { retry: { firstWait: 10, longestWait: 200 }, patience: 5000 };

const version = findNginx();
if (version === undefined) console.error(INSTALL);
process.exitCode = version === undefined ? 2 : await inFolder(run);

async function inFolder(action) {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "safetensors-nginx-")));
  try {
    return await action(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Returns the exit code. */
async function run(folder) {
  const model = join(folder, "model.safetensors");
  const python = fileURLToPath(new URL(".venv/bin/python", import.meta.url));
  const writer = existsSync(python) ? python : undefined;
  const truth = writeCheckpoint(model, writer);
  console.log(`${version}; the file is written ${writer ? "by the Python reference" : "by hand"}`);

  const upstream = await startUpstream(model);
  const [first, second, behind] = await freePorts(3);
  const ports = { first, second, behind, upstream: upstream.address().port };
  const cases = casesFor(ports);
  writeFiles(folder, model, cases);
  const refusal = refuses(folder, configuration(cases, ports));
  if (refusal !== undefined) {
    console.error(`this nginx does not take the configuration:\n${refusal}`);
    upstream.close();
    return 2;
  }
  const nginx = new Nginx(folder, `http://127.0.0.1:${first}/status`);
  try {
    await nginx.start();
    const chosen = cases.filter(({ key }) => process.argv.length < 3 || process.argv.includes(key, 2));
    const report = await runStep("reads through nginx", (report) =>
      runCases(report, chosen, { nginx, folder, origin: `http://127.0.0.1:${first}`, truth }),
    );
    return report.failed === 0 ? 0 : 1;
  } finally {
    await nginx.stop();
    upstream.closeAllConnections();
    upstream.close();
  }
}

async function runCases(report, cases, { nginx, folder, origin, truth }) {
  const rows = [];
  for (const one of cases) {
    await report.try(one.key, async () => {
      const file = join(folder, "files", one.key, "model.safetensors");
      const { size } = statSync(file);
      const logged = nginx.logged;
      const start = performance.now();
      const url = `${origin}/${one.key}/model.safetensors`;
      const outcome = await readEverything(
        url,
        truth,
        { ...OPTIONS, ...one.options },
        {
          ...one,
          afterOpen: () => one.afterOpen?.(file, nginx),
        },
      );
      const seconds = (performance.now() - start) / 1000;
      const requests = await nginx.requestsSince(logged);
      checkOutcome(report, one, outcome, requests, size);
      rows.push({ key: one.key, requests, outcome, seconds });
    });
  }
  console.log(showTable(rows));
}
