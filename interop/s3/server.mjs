import { spawn, spawnSync } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));

/** The Python that Debian's packages are for. */
const SYSTEM_PYTHON = "/usr/bin/python3";

const PACKAGES = "swift-proxy swift-account swift-container swift-object memcached python3-boto3".split(" ");

/** How to get what is needed. */
export const INSTALL = `apt-get install --no-install-recommends ${PACKAGES.join(" ")}`;

/** What is missing to run OpenStack Swift, or nothing. */
export function missing() {
  const { error, status, stderr } = spawnSync(
    SYSTEM_PYTHON,
    ["-c", "import boto3, swift.common.middleware.s3api"],
    { encoding: "utf8" },
  );
  if (error || status !== 0) return error?.message ?? stderr.trim().split("\n").at(-1);
  const commands = [
    "memcached",
    ...["proxy", "account", "container", "object"].map((kind) => `swift-${kind}-server`),
  ];
  return commands.find((command) => spawnSync(command, ["--help"]).error)?.concat(" is not on the PATH");
}

/** Installs Debian's packages; needs root. */
export function install() {
  spawnSync("apt-get", ["install", "--yes", "--no-install-recommends", ...PACKAGES], {
    stdio: ["ignore", process.stderr, process.stderr],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  });
}

/**
 * Starts Swift with all it writes in one folder, for the time of `action`, which is given its address, its region and the
 * only access key. Returns `undefined` when it cannot be started.
 */
export async function withSwift(folder, action) {
  const swift = spawn(SYSTEM_PYTHON, ["swift.py", folder], { cwd: here, stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => swift.once("close", resolve));
  try {
    for await (const line of createInterface({ input: swift.stdout })) return await action(JSON.parse(line));
    return undefined;
  } finally {
    swift.stdin.end();
    await ended;
  }
}

/** Makes and changes objects with boto3: see objects.py. Returns what it prints. */
export function changeObjects(server, steps) {
  const { status, stdout, stderr } = spawnSync(SYSTEM_PYTHON, ["-W", "ignore", "objects.py"], {
    cwd: here,
    input: JSON.stringify({ server, steps }),
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`objects.py ended with exit code ${status}:\n${stderr}`);
  return stdout;
}
