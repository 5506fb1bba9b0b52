import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const requirements = join(here, "requirements.txt");
const venv = join(here, ".venv");
const stamp = join(venv, "requirements.stamp");
const python =
  process.platform === "win32" ? join(venv, "Scripts", "python.exe") : join(venv, "bin", "python");

/**
 * Path of a Python that has the packages of requirements.txt. Makes interop/.venv when it is missing or when
 * requirements.txt has changed (half a minute to some minutes: torch is large). Set PYTHON to choose the Python it is
 * made from.
 */
export function ensureVenv() {
  const wanted = readFileSync(requirements, "utf8");
  if (existsSync(python) && existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return python;
  process.stderr.write(`interop: making ${venv}\n`);
  rmSync(venv, { recursive: true, force: true });
  run(process.env.PYTHON ?? (process.platform === "win32" ? "python" : "python3"), ["-m", "venv", venv]);
  run(python, ["-m", "pip", "install", "--requirement", requirements]);
  writeFileSync(stamp, wanted);
  return python;
}

function run(command, args) {
  const { error, status } = spawnSync(command, args, { stdio: ["ignore", process.stderr, process.stderr] });
  if (error?.code === "ENOENT") {
    throw new Error(`"${command}" was not found: install Python 3.11 or newer, or name one in PYTHON`);
  }
  if (error) throw error;
  if (status !== 0) {
    throw new Error(`"${command} ${args.join(" ")}" failed with exit code ${status} (output above)`);
  }
}
