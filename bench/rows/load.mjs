import { runChild, runNode } from "../lib/child.mjs";
import { dataFile } from "../lib/data.mjs";
import { assertSame, compareRuns, interleave } from "../lib/interleave.mjs";
import { touchMemory, warmFile } from "../lib/machine.mjs";

/** Load every tensor; each is hashed, so that a reader that is lazy must read too. */
export function loadRows({ python, size, runs = 5 }) {
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
    touchMemory(1.3e9 * size);
    warmFile(path);
  });
  assertSame(measured, "checksum");

  const rows = (title, mine, other, opponent) => {
    const both = { ours: measured[mine], theirs: measured[other], opponent };
    return [
      compareRuns(title, { ...both, time: ({ total, again }) => total - again }),
      compareRuns(`${title}, with SHA-256`, { ...both, time: ({ total }) => total }),
    ];
  };
  return [
    ...rows(`load ${size} GB, data() kept`, "all", "numpy", "numpy.load_file"),
    ...rows(`load ${size} GB, data() kept`, "all", "torch", "torch.load_file"),
    ...rows(`pass over ${size} GB, data()`, "each", "numpyEach", "get_tensor, numpy"),
    ...rows(`pass over ${size} GB, chunks()`, "chunks", "numpyEach", "get_tensor, numpy"),
  ];
}
