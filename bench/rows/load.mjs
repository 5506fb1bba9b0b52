import { runChild, runNode } from "../lib/child.mjs";
import { dataFile } from "../lib/data.mjs";
import { assertSame, compareRuns, interleave } from "../lib/interleave.mjs";
import { touchMemory, warmFile } from "../lib/machine.mjs";

/** What the limit of owned memory may take of our time: we are to reach 80 % of its speed. */
const OF_CEILING = 1.25;

/** Load every tensor; each is hashed, so that a reader that is lazy must read too. */
export function loadRows({ python, size, runs = 4 }) {
  console.error(`load: ${size} GB`);
  const path = dataFile(python, "model", size);
  const ours = (way) => () => runNode(["node/load.mjs", path, way, "touch"]);
  const theirs = (way) => () => runChild(python, ["python/load.py", path, way, "touch"]);
  const hashing = {
    data: ours("data"),
    numpy: theirs("numpy"),
    mapped: ours("mapped"),
    torch: theirs("torch"),
    huge: ours("huge"),
    ceiling: () => runChild(python, ["python/ceiling.py", path]),
    each: ours("each"),
    chunks: ours("chunks"),
    numpyEach: theirs("each"),
  };
  const measured = interleave(hashing, runs, () => {
    warmFile(path);
    touchMemory(1.3e9 * size);
  });
  assertSame(measured, "checksum");
  const { data, numpy, mapped, torch, huge } = measured;
  assertSame({ data, numpy, mapped, torch, huge }, "sample");
  // Neither of these hashes, and neither takes memory.
  const passing = interleave(
    {
      pass: () => runNode(["node/pass.mjs", path]),
      dd: () => runChild("dd", [`if=${path}`, "of=/dev/null", "bs=4194304"]),
    },
    runs,
    () => warmFile(path),
  );

  const row = (title, mine, other, opponent, time, goals) =>
    compareRuns(title, { ours: measured[mine], theirs: measured[other], opponent, time, goals });
  const loaded = ({ read }) => read;
  const hashed = ({ total }) => total;
  const [load, through] = [`load ${size} GB`, `go through ${size} GB`];
  return [
    row(`${load}, data()`, "data", "numpy", "numpy.load_file", loaded),
    row(`${load}, data(), with SHA-256`, "data", "numpy", "numpy.load_file", hashed),
    row(`${load}, data(), with SHA-256`, "data", "torch", "torch.load_file", hashed),
    row(`${load}, openMapped`, "mapped", "torch", "torch.load_file", loaded, { ratio: 1 }),
    row(`${load}, openMapped, with SHA-256`, "mapped", "torch", "torch.load_file", hashed, { ratio: 1 }),
    row(`${load}, load(hugePages)`, "huge", "ceiling", "preadv, huge pages", loaded, { ratio: OF_CEILING }),
    row(`${load}, load(hugePages)`, "huge", "numpy", "numpy.load_file", loaded),
    row(`${load}, load(hugePages), with SHA-256`, "huge", "numpy", "numpy.load_file", hashed),
    row(`${through}, data()`, "each", "numpyEach", "get_tensor, numpy", loaded),
    row(`${through}, data(), with SHA-256`, "each", "numpyEach", "get_tensor, numpy", hashed),
    row(`${through}, chunks()`, "chunks", "numpyEach", "get_tensor, numpy", loaded),
    row(`${through}, chunks(), with SHA-256`, "chunks", "numpyEach", "get_tensor, numpy", hashed),
    compareRuns(`${through}, chunks()`, {
      ours: passing.pass,
      theirs: passing.dd,
      opponent: "dd bs=4M",
      timeOurs: loaded,
      time: ({ wall }) => wall,
    }),
  ];
}
