import { closeSync, openSync, readSync } from "node:fs";
import { cpus, loadavg, platform, release, totalmem } from "node:os";
import { runChild, runNode } from "./child.mjs";

/** What the figures were measured on, in one line each. */
export function describeMachine(python) {
  const processors = cpus();
  const { versions } = runChild(python, ["python/versions.py"]);
  return {
    hardware: `${processors[0]?.model ?? "unknown processor"}, ${processors.length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    system: `${platform()} ${release()}`,
    node: process.versions.node,
    python: versions,
    loadBefore: loadavg()[0],
  };
}

/**
 * Makes memory ready for what comes next: the host of a virtual machine takes back memory that is free for some
 * seconds, and getting it again is slower than all that is measured here.
 */
export function touchMemory(bytes) {
  runNode(["node/touch-memory.mjs", String(Math.round(bytes))]);
}

const buffer = new Uint8Array(4 << 20);

/** Reads a file once, so that it is in the page cache. */
export function warmFile(path) {
  const fd = openSync(path, "r");
  while (readSync(fd, buffer) > 0);
  closeSync(fd);
}

/** Waits until what was written is on the disk, so that the next run does not share the disk with it. */
export function settleDisk() {
  if (platform() !== "win32") runChild("sync", []);
}
