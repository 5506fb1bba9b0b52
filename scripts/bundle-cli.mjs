import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { build } from "esbuild";
import { ROOT } from "./prepare.mjs";

const BUNDLE = `${ROOT}packages/cli/dist/bundle/`;

/**
 * Joins the command line and the library into few files: to load the two hundred modules one by one takes longer than a
 * small command. Other packages stay outside.
 */
export async function bundleCli() {
  const { outputFiles } = await build({
    entryPoints: {
      main: `${ROOT}packages/cli/dist/src/main.js`,
      // A thread's program is found beside the file that starts it.
      "quantize-worker": `${ROOT}packages/safetensors/dist/src/node/quantize/quantize-worker.js`,
    },
    outdir: BUNDLE,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    external: ["commander", "cli-progress", "picocolors", "tinyglobby", "koffi", "aws4fetch"],
    write: false,
    logLevel: "warning",
  });
  mkdirSync(BUNDLE, { recursive: true });
  for (const { path, contents } of outputFiles) writeFileSync(path, contents);
  const current = new Set(outputFiles.map(({ path }) => basename(path)));
  for (const file of readdirSync(BUNDLE)) if (!current.has(file)) rmSync(BUNDLE + file);
}
