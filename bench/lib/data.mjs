import { existsSync, mkdirSync, readdirSync, statfsSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runChild } from "./child.mjs";

/** Where the files for measuring are; git does not see it. */
export const WORK = fileURLToPath(new URL("../.work/", import.meta.url));

/** Size of the checkpoint of the row "large", in GB. */
export const LARGE_GB = 4;

/** Files and results of each group of rows, in GB for a checkpoint of one GB. */
const DISK_GB = {
  open: () => 0.1,
  load: (size) => size,
  cut: () => 0.2,
  one: () => 0.01,
  remote: () => 0.1,
  cold: (size) => size,
  convert: (size) => 3 * size,
  small: () => 0.1,
  reshape: (size) => 4 * size,
  scan: (size) => size,
  shard: (size) => 2 * size,
  quant: () => 1,
  large: () => 5 * LARGE_GB,
  million: () => 2,
};

/** Throws if the disk has no room for all that the groups write. */
export function checkDiskSpace(groups, size) {
  mkdirSync(WORK, { recursive: true });
  // Holes in files take no room.
  const there = readdirSync(WORK).reduce((sum, file) => sum + statSync(join(WORK, file)).blocks * 512, 0);
  const needed = groups.reduce((sum, group) => sum + DISK_GB[group](size), 1) * 1e9 - there;
  const { bavail, bsize } = statfsSync(WORK);
  if (bavail * bsize < needed) {
    throw new Error(
      `${WORK} needs ${(needed / 1e9).toFixed(1)} GB more, ${((bavail * bsize) / 1e9).toFixed(1)} GB are free`,
    );
  }
}

/** The path of a file for measuring; written by `python/make_data.py` when it is not there yet. */
export function dataFile(python, kind, amount) {
  const path = join(WORK, `${kind}-${amount}.${kind.endsWith("bin") ? "bin" : "safetensors"}`);
  if (!existsSync(path)) {
    console.error(`making ${path}`);
    runChild(python, ["python/make_data.py", kind, String(amount), path]);
  }
  return path;
}
