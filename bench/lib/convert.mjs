import { closeSync, fsyncSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runChild, runNode } from "./child.mjs";
import { dataFile, WORK } from "./data.mjs";
import { interleave } from "./interleave.mjs";
import { settleDisk, touchMemory, warmFile } from "./machine.mjs";

const COMMAND = fileURLToPath(new URL("../../packages/cli/bin/safetensors.js", import.meta.url));
const OBSERVE = new URL("../node/observe.mjs", import.meta.url).href;

/** The most memory that a conversion may take, whatever the size of the checkpoint. */
export const MOST_MEMORY = 150e6;

/**
 * Measures the conversion of a PyTorch file: our command, the same in Python, and `cp` of the file; and, as `start`,
 * our command with a file that holds next to nothing. All write a new file. Python first compares the result of our
 * command with the original.
 */
export function measureConversion(python, source, bytes, runs) {
  const target = join(WORK, "converted.safetensors");
  const convert = (input) => runNode(["--import", OBSERVE, COMMAND, "convert", input, target]);
  const ours = () => convert(source);
  const tiny = dataFile(python, "small-bin", 1);
  const before = (side) => {
    rmSync(target, { force: true });
    settleDisk();
    warmFile(source);
    // Python holds the checkpoint, the page cache the result. Less for the others would do, but gives wider ranges.
    if (side !== "start") touchMemory(2.2 * bytes);
  };
  before("ours");
  ours();
  runChild(python, ["python/compare.py", source, target]);
  const sides = {
    ours,
    start: () => convert(tiny),
    python: () => runChild(python, ["python/convert.py", source, target]),
    cp: () => ({ ...runChild("cp", [source, target]), flush: flushFile(target) }),
  };
  const measured = interleave(sides, runs, before);
  rmSync(target, { force: true });
  return measured;
}

/** Milliseconds until a file that was written is on the disk. */
function flushFile(path) {
  const start = performance.now();
  const fd = openSync(path, "r+");
  fsyncSync(fd);
  closeSync(fd);
  return performance.now() - start;
}
