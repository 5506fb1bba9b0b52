import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const BENCH = fileURLToPath(new URL("..", import.meta.url));

/** Installs the JavaScript packages that are measured against, where others are asked for than are there. */
export function ensurePeers() {
  // npm leaves its own lock file behind; an older one means that ours has changed since.
  const installed = join(BENCH, "node_modules", ".package-lock.json");
  const wanted = join(BENCH, "package-lock.json");
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(wanted).mtimeMs) return;
  console.error(`installing the packages of ${join(BENCH, "package.json")}`);
  const npm = process.env.npm_execpath;
  const [command, ...first] = npm ? [process.execPath, npm] : ["npm"];
  const { status, error } = spawnSync(
    command,
    [...first, "ci", "--prefix", BENCH, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
    { stdio: ["ignore", process.stderr, process.stderr] },
  );
  if (error) throw error;
  if (status !== 0) throw new Error(`"npm ci" failed with exit code ${status} (output above)`);
}
