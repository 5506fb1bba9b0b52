import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const COMMAND = fileURLToPath(new URL("../packages/cli/bin/safetensors.js", import.meta.url));
const OBSERVE = new URL("../bench/node/observe.mjs", import.meta.url).href;

/** Runs the command. `peak` is its greatest resident memory in bytes, `seconds` the time from start to end. */
export function measureCommand(...args) {
  const start = performance.now();
  const { status, signal, output, error } = spawnSync(
    process.execPath,
    ["--import", OBSERVE, COMMAND, ...args],
    {
      stdio: ["ignore", "pipe", "pipe", "pipe"],
      encoding: "utf8",
      env: { ...process.env, NO_COLOR: "1" },
    },
  );
  if (error) throw error;
  if (status === null || !output[3])
    throw new Error(`the command was ended: ${signal ?? status}\n${output[2]}`);
  const [, stdout, stderr, observed] = output;
  const seconds = (performance.now() - start) / 1000;
  return { status, stdout, stderr, seconds, peak: JSON.parse(observed).peak };
}
