import { runChild, runNode } from "../lib/child.mjs";
import { dataFile } from "../lib/data.mjs";
import { assertSame, compareRuns, interleave } from "../lib/interleave.mjs";
import { warmFile } from "../lib/machine.mjs";

const TENSORS = 10_000;

/** Open a file of many tensors and read one of 8 MB. */
export function oneRows({ python, runs = 10 }) {
  console.error(`one: of ${TENSORS} tensors`);
  const path = dataFile(python, "one", TENSORS);
  const measured = interleave(
    {
      ours: () => runNode(["node/one.mjs", path]),
      theirs: () => runChild(python, ["python/one.py", path]),
    },
    runs,
    () => warmFile(path),
  );
  assertSame(measured, "checksum");
  const title = `8 MB of ${TENSORS.toLocaleString("en")} tensors`;
  const sides = { ...measured, opponent: "get_tensor, numpy" };
  return [
    compareRuns(`${title}, first call`, { ...sides, time: ({ first }) => first }),
    compareRuns(`${title}, whole process`, { ...sides, time: ({ wall }) => wall }),
  ];
}
