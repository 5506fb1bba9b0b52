// Runs the built library in web pages in Chromium, and compares what it reads with what Node reads: node
// interop/browser.mjs. One page may share memory with workers; the other may not, nor use WebAssembly. Build it first: npm run build. Ends with 2 where there is no Chromium (CHROMIUM may name one).

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { findChromium, showPage } from "./runtimes/chromium.mjs";
import { runChecks } from "./runtimes/describe.mjs";
import { everywhere } from "./runtimes/everywhere.mjs";
import { makeInputs } from "./runtimes/inputs.mjs";
import { judgeAll } from "./runtimes/run.mjs";
import { serve } from "./runtimes/server.mjs";
import { printOutcomes } from "./runtimes/table.mjs";

/** Milliseconds for a page to run all checks. */
const PATIENCE = 60_000;

/** Scripts of the pages, by their names in the bundle. The workers of a pool look for theirs beside them. */
const SCRIPTS = {
  page: new URL("runtimes/page.mjs", import.meta.url),
  "opfs-worker": new URL("runtimes/opfs-worker.mjs", import.meta.url),
  worker: new URL("dist/src/workers/worker.js", import.meta.resolve("safetensors.js/package.json")),
};

const ISOLATED = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

/** Scripts of this origin, without "wasm-unsafe-eval". */
const STRICT = { "content-security-policy": "script-src 'self'" };

const NEEDED = '"Cross-Origin-Opener-Policy: same-origin" and "Cross-Origin-Embedder-Policy: require-corp"';
const NOT_SHARED = [
  "UNSUPPORTED",
  "shared-memory",
  `UNSUPPORTED: this page cannot share memory with workers; it must be served with the headers ${NEEDED}`,
];

/** What is otherwise in the page with the strict policy, which is not isolated from other origins. */
const STRICT_EXPECTED = {
  "backend of the kernels": "javascript",
  "a pool of kernels": [NOT_SHARED, NOT_SHARED],
  "casts in the memory of a pool": "no shared memory",
};

const chromium = findChromium();
if (chromium) {
  const failures = printOutcomes(await runBrowser(chromium));
  process.exitCode = failures === 0 ? 0 : 1;
} else {
  console.log("NOT CHECKED: there is no Chromium or Chrome here");
  process.exitCode = 2;
}

/** The outcomes of all checks in this Node and in the pages. */
async function runBrowser({ program, version }) {
  const input = fileURLToPath(new URL(".work/browser/", import.meta.url));
  const { expected, ...choice } = await makeInputs(input);
  await build({
    entryPoints: Object.fromEntries(
      Object.entries(SCRIPTS).map(([name, { href }]) => [name, fileURLToPath(href)]),
    ),
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
  const inPage = async (headers) => {
    let onPost;
    const posted = new Promise((resolve) => {
      onPost = resolve;
    });
    const server = await serve(input, { page: pageWith(context), headers, onPost });
    try {
      return JSON.parse(await showPage(program, server.url, posted, PATIENCE));
    } finally {
      server.close();
    }
  };
  try {
    const inNode = await runChecks(everywhere, { ...context, url: other.url });
    const wanted = Object.fromEntries(Object.entries(expected).filter(([name]) => name in everywhere));
    const strict = Object.entries(STRICT_EXPECTED).map(([name, value]) => [name, { value }]);
    return [
      { name: `Node ${process.versions.node}`, checks: judgeAll(inNode, inNode, wanted) },
      { name: version, checks: judgeAll(await inPage(ISOLATED), inNode, wanted) },
      {
        name: "not isolated, no WebAssembly",
        checks: judgeAll(
          await inPage(STRICT),
          { ...inNode, ...Object.fromEntries(strict) },
          { ...wanted, ...STRICT_EXPECTED },
        ),
      },
    ];
  } finally {
    for (const { close } of [redirects, other]) close();
  }
}

function pageWith(context) {
  const json = JSON.stringify(context).replaceAll("<", "\\u003c");
  return `<!doctype html><title>safetensors.js</title>
<script id="context" type="application/json">${json}</script>
<script type="module" src="/bundle/page.js"></script>`;
}
