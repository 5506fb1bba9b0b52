import { runChild, runNode } from "../lib/child.mjs";
import { dataFile } from "../lib/data.mjs";
import { assertSame, compareRuns, interleave, median } from "../lib/interleave.mjs";

const TENSORS = [100, 10_000, 100_000];

/** Repeats in one process, for the figures of a process that has done it before. */
const REPEATS = 5;

/** Open a file and list its names: the cost of the header. */
export function openRows({ python, runs = 10 }) {
  return TENSORS.flatMap((count) => {
    console.error(`open: ${count} tensors`);
    const path = dataFile(python, "header", count);
    const sides = (repeats) => ({
      ours: () => runNode(["node/open.mjs", path, String(repeats)]),
      theirs: () => runChild(python, ["python/open.py", path, String(repeats)]),
    });
    const fresh = interleave(sides(0), runs);
    const warm = interleave(sides(REPEATS), Math.ceil(runs / 3));
    assertSame(fresh, "names");
    assertSame(warm, "names");
    const title = `open and list ${count.toLocaleString("en")} tensors`;
    const opponent = "safe_open, numpy";
    const goals = count === 100_000 ? { ratio: 0.5 } : {};
    return [
      compareRuns(`${title}, first call`, { ...fresh, opponent, goals, time: ({ first }) => first }),
      compareRuns(`${title}, later calls`, { ...warm, opponent, time: ({ again }) => median(again) }),
      compareRuns(`${title}, whole process`, { ...fresh, opponent, time: ({ wall }) => wall }),
    ];
  });
}
