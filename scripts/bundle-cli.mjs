import { build } from "esbuild";
import { ROOT } from "./prepare.mjs";
import { writeBundle } from "./write-bundle.mjs";

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
    // With "node" it would be given the library's joined files, and a command load more than it uses.
    platform: "neutral",
    target: "node20",
    external: ["node:*", "commander", "cli-progress", "picocolors", "tinyglobby", "koffi", "aws4fetch"],
    write: false,
    logLevel: "warning",
  });
  writeBundle(BUNDLE, outputFiles);
}
