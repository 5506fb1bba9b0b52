import { runChild, runNode } from "../lib/child.mjs";
import { dataFile } from "../lib/data.mjs";
import { assertSame, compareRuns, interleave } from "../lib/interleave.mjs";
import { touchMemory, warmFile } from "../lib/machine.mjs";

/** Load every tensor; each is hashed, so that a reader that is lazy must read too. */
export function loadRows({ python, size, runs = 4 }) {
  console.error(`load: ${size} GB`);
  const path = dataFile(python, "model", size);
  const ours = (way) => () => runNode(["node/load.mjs", path, way]);
  const theirs = (way) => () => runChild(python, ["python/load.py", path, way]);
  const sides = {
    all: ours("all"),
    numpy: theirs("numpy"),
    torch: theirs("torch"),
    each: ours("each"),
    chunks: ours("chunks"),
    numpyEach: theirs("each"),
  };
  const measured = interleave(sides, runs, () => {
    warmFile(path);
    touchMemory(1.3e9 * size);
  });
  assertSame(measured, "checksum");

  const row = (title, mine, other, opponent, time) =>
    compareRuns(title, { ours: measured[mine], theirs: measured[other], opponent, time });
  const hashed = ({ total }) => total;
  const loaded = ({ total, again }) => total - again;
  return [
    row(`load ${size} GB, data() kept`, "all", "numpy", "numpy.load_file", loaded),
    row(`load ${size} GB, data() kept, with SHA-256`, "all", "numpy", "numpy.load_file", hashed),
    // Alone, load_file of torch takes no time: it maps the file, and hashing reads it.
    row(`load ${size} GB, data() kept, with SHA-256`, "all", "torch", "torch.load_file", hashed),
    row(`go through ${size} GB, data()`, "each", "numpyEach", "get_tensor, numpy", loaded),
    row(`go through ${size} GB, data(), with SHA-256`, "each", "numpyEach", "get_tensor, numpy", hashed),
    row(`go through ${size} GB, chunks()`, "chunks", "numpyEach", "get_tensor, numpy", loaded),
    row(`go through ${size} GB, chunks(), with SHA-256`, "chunks", "numpyEach", "get_tensor, numpy", hashed),
  ];
}
