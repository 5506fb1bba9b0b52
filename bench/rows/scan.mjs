import { runChild, runNode } from "../lib/child.mjs";
import { dataFile } from "../lib/data.mjs";
import { compareRuns, interleave, median } from "../lib/interleave.mjs";
import { warmFile } from "../lib/machine.mjs";
import { withServer } from "../lib/server.mjs";

const TENSORS = 20_000;

/** Scans after the first one in the same process, as of somebody who scans many files; those of the first half do not count. */
const REPEATS = { ours: 12, picklescan: 4 };
const REMOTE_GB = 5;

/** Find out whether PyTorch files could run code. */
export async function scanRows({ python, size, runs = 4 }) {
  console.error(`scan: ${TENSORS} tensors, ${size} GB, ${REMOTE_GB} GB by http`);
  const many = dataFile(python, "small-bin", TENSORS);
  const large = dataFile(python, "model-bin", size);
  return [
    ...localRows(`scan ${TENSORS.toLocaleString("en")} tensors`, python, many, runs, 0.1),
    ...localRows(`scan ${size} GB`, python, large, runs),
    ...(await remoteRows(python, runs)),
  ];
}

function localRows(title, python, path, runs, goal) {
  const sides = (repeats) => ({
    ours: () => runNode(["node/scan.mjs", path, String(repeats.ours)]),
    picklescan: () => runChild(python, ["python/scan.py", "picklescan", path, String(repeats.picklescan)]),
  });
  const fickling = () => runChild(python, ["python/scan.py", "fickling", path]);
  const measured = interleave({ ...sides({ ours: 0, picklescan: 0 }), fickling }, runs, () => warmFile(path));
  const again = interleave(sides(REPEATS), Math.ceil(runs / 2), () => warmFile(path));
  const goals = goal === undefined ? {} : { ratio: goal };
  const later = compareRuns(`${title}, later calls`, {
    ours: again.ours,
    theirs: again.picklescan,
    opponent: "picklescan",
    goals,
    time: ({ again }) => median(again.slice(-Math.ceil(again.length / 2))),
  });
  const rows = ["picklescan", "fickling"].flatMap((opponent) => {
    const sides = { ours: measured.ours, theirs: measured[opponent], opponent };
    return [
      compareRuns(`${title}, first call`, {
        ...sides,
        goals: opponent === "picklescan" ? goals : {},
        time: ({ first }) => first,
      }),
      compareRuns(`${title}, whole process`, { ...sides, time: ({ wall }) => wall }),
    ];
  });
  return [later, ...rows];
}

/** Ours asks a server for what it needs; picklescan, which cannot, has the file on its disk. */
async function remoteRows(python, runs) {
  const path = dataFile(python, "sparse-bin", REMOTE_GB);
  const { result: measured, traffic } = await withServer(path, (address) =>
    interleave(
      {
        ours: () => runNode(["node/scan.mjs", `${address}/ours`]),
        theirs: () => runChild(python, ["python/scan.py", "picklescan", path]),
      },
      runs,
    ),
  );
  const { requests, bytes } = traffic["/ours"];
  const each = `${requests / (runs + 1)} requests, ${(bytes / (runs + 1) / 1e6).toFixed(2)} MB`;
  return [
    compareRuns(`scan ${REMOTE_GB} GB by http, ${each}`, {
      ...measured,
      opponent: "picklescan, local file",
      time: ({ first }) => first,
    }),
  ];
}
