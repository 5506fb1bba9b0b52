import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));

/** Runs one of the scripts of this folder and returns what it prints. */
export function runPython(python, script, args = [], input = "") {
  const { status, stdout, stderr, error } = spawnSync(python, ["-W", "ignore", script, ...args], {
    cwd: here,
    input,
    encoding: "utf8",
    maxBuffer: 2 ** 28,
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`${script} ended with exit code ${status}:\n${stderr}`);
  return stdout;
}

/** SHA-256 in hex. */
export function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}
