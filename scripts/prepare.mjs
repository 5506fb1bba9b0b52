// Makes a fresh clone ready: installs what package-lock.json asks for and builds, each only when needed.
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));

const LEAST_NODE = [20, 19];

/** Runs a command with its output on this terminal; ends this process with its exit status if it fails. */
export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: "inherit", ...options });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

export async function prepare() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < LEAST_NODE[0] || (major === LEAST_NODE[0] && minor < LEAST_NODE[1])) {
    console.error(
      `Node ${process.versions.node} is too old: version ${LEAST_NODE.join(".")} or newer is needed.`,
    );
    process.exit(1);
  }
  if (!isInstalled()) {
    console.error("Installing the development tools (first time only) …");
    runNpm(["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
  }
  // Only now is everything installed that these need.
  const { buildKernels } = await import("./build-kernels.mjs");
  await buildKernels();
  run(process.execPath, ["node_modules/typescript/bin/tsc", "-b"]);
  const { bundleLibrary } = await import("./bundle-library.mjs");
  await bundleLibrary();
  const { bundleCli } = await import("./bundle-cli.mjs");
  await bundleCli();
}

/** npm leaves its own lock file in node_modules; an older one means that package-lock.json has changed since. */
function isInstalled() {
  const installed = `${ROOT}node_modules/.package-lock.json`;
  return existsSync(installed) && statSync(installed).mtimeMs >= statSync(`${ROOT}package-lock.json`).mtimeMs;
}

function runNpm(args) {
  const npm = process.env.npm_execpath;
  // stdout is kept for what the user asked for.
  const stdio = ["ignore", process.stderr, "inherit"];
  if (npm) run(process.execPath, [npm, ...args], { stdio });
  else run("npm", args, { stdio, shell: process.platform === "win32" });
}
