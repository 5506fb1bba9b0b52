import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const BENCH = fileURLToPath(new URL("..", import.meta.url));

/**
 * Runs a command to its end. Gives the figures it reports as JSON on file descriptor 3, if any, and in `wall` the
 * milliseconds from start to end, which is what a person waits for.
 */
export function runChild(command, args) {
  const start = performance.now();
  const { status, output, error } = spawnSync(command, args, {
    cwd: BENCH,
    stdio: ["ignore", "ignore", "pipe", "pipe"],
    encoding: "utf8",
  });
  const wall = performance.now() - start;
  if (error) throw error;
  const [, , stderr, report] = output;
  if (status !== 0)
    throw new Error(`"${command} ${args.join(" ")}" failed with exit code ${status}:\n${stderr}`);
  return { wall, ...JSON.parse(report || "{}") };
}

/** `runChild` with Node as the command. */
export function runNode(args) {
  return runChild(process.execPath, args);
}
