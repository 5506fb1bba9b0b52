import { platform } from "node:os";
import { runChild, runNode } from "../lib/child.mjs";
import { dataFile } from "../lib/data.mjs";
import { assertSame, compareRuns, interleave } from "../lib/interleave.mjs";
import { touchMemory } from "../lib/machine.mjs";

/** Load every tensor from the disk: nothing of the file is in memory. Only Linux can be told so, and asked. */
export function coldRows({ python, size, runs = 2 }) {
  if (platform() !== "linux") {
    console.error("cold: left out, this system cannot be told to forget a file");
    return [];
  }
  console.error(`cold: ${size} GB`);
  const path = dataFile(python, "model", size);
  const ours = (way) => () => runNode(["node/load.mjs", path, way]);
  const theirs = (way) => () => runChild(python, ["python/load.py", path, way]);
  const sides = {
    chunks: ours("chunks"),
    mapped: ours("mapped"),
    huge: ours("huge"),
    numpy: theirs("numpy"),
    torch: theirs("torch"),
  };
  const measured = interleave(sides, runs, () => {
    touchMemory(1.3e9 * size);
    // Fails unless the file has left the page cache.
    runChild(python, ["python/forget.py", path]);
  });
  assertSame(measured, "checksum");
  const names = { chunks: "chunks()", mapped: "openMapped", huge: "load(hugePages)" };
  return Object.entries(names).flatMap(([side, name]) =>
    ["torch", "numpy"].map((other) =>
      compareRuns(`from a cold disk ${size} GB, ${name}, with SHA-256`, {
        ours: measured[side],
        theirs: measured[other],
        opponent: `${other}.load_file`,
        time: ({ total }) => total,
      }),
    ),
  );
}
