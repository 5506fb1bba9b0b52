// Runs the built library in a web page in Chromium, and compares what it reads with what Node reads: node
// interop/browser.mjs. Build it first: npm run build. Ends with 2 where there is no Chromium (CHROMIUM may name one).

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { findChromium, showPage } from "./runtimes/chromium.mjs";
import { runChecks } from "./runtimes/describe.mjs";
import { makeInputs } from "./runtimes/inputs.mjs";
import { portable } from "./runtimes/portable.mjs";
import { judgeAll } from "./runtimes/run.mjs";
import { serve } from "./runtimes/server.mjs";
import { printOutcomes } from "./runtimes/table.mjs";

/** Milliseconds for a page to run all checks. */
const PATIENCE = 60_000;

const [PAGE, WORKER] = ["page.mjs", "opfs-worker.mjs"].map((file) =>
  fileURLToPath(new URL(`runtimes/${file}`, import.meta.url)),
);

const chromium = findChromium();
if (chromium) {
  const failures = printOutcomes(await runBrowser(chromium));
  process.exitCode = failures === 0 ? 0 : 1;
} else {
  console.log("NOT CHECKED: there is no Chromium or Chrome here");
  process.exitCode = 2;
}

/** The outcomes of all portable checks, in this Node and in a page. */
async function runBrowser({ program, version }) {
  const input = fileURLToPath(new URL(".work/browser/", import.meta.url));
  const { expected, ...choice } = await makeInputs(input);
  await build({
    entryPoints: [PAGE, WORKER],
    outdir: join(input, "bundle"),
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
  });
  // Another port is another origin.
  const other = await serve(input);
  const redirects = await serve(input, { target: other.url });
  const context = { ...choice, moved: `${redirects.url}moved/` };
  let onPost;
  const posted = new Promise((resolve) => {
    onPost = resolve;
  });
  const server = await serve(input, { page: pageWith(context), onPost });
  try {
    const inNode = await runChecks(portable, { ...context, url: server.url });
    const inPage = JSON.parse(await showPage(program, server.url, posted, PATIENCE));
    const wanted = Object.fromEntries(Object.entries(expected).filter(([name]) => name in portable));
    return [
      { name: `Node ${process.versions.node}`, checks: judgeAll(inNode, inNode, wanted) },
      { name: version, checks: judgeAll(inPage, inNode, wanted) },
    ];
  } finally {
    for (const { close } of [server, redirects, other]) close();
  }
}

function pageWith(context) {
  const json = JSON.stringify(context).replaceAll("<", "\\u003c");
  return `<!doctype html><title>safetensors.js</title>
<script id="context" type="application/json">${json}</script>
<script type="module" src="/bundle/page.js"></script>`;
}
