import { runChild, runNode } from "../lib/child.mjs";
import { dataFile } from "../lib/data.mjs";
import { assertSame, compareRuns, interleave, median } from "../lib/interleave.mjs";
import { warmFile } from "../lib/machine.mjs";

/** Rows and columns of the tensor "half" (F16); "single" (F32) has half as many of both. */
const SIDE = 8192;
const ALL = [null, null, null];

/** What is cut out of which tensor: the parts one after another, each with a start, a stop and a step for each axis. */
const CUTS = [
  {
    title: "all columns of F16 by 1,024",
    tensor: "half",
    parts: blocks(SIDE, 1024, (columns) => [ALL, columns]),
  },
  {
    title: "all columns of F32 by 512",
    tensor: "single",
    parts: blocks(SIDE / 2, 512, (columns) => [ALL, columns]),
  },
  { title: "8 columns of F16", tensor: "half", parts: [[ALL, [1024, 1032, null]]] },
  { title: "each fourth row of F16", tensor: "half", parts: [[[null, null, 4], ALL]] },
  { title: "all rows of F16 by 1,024", tensor: "half", parts: blocks(SIDE, 1024, (rows) => [rows, ALL]) },
];

/** Rows of the table that cut whole blocks of columns have a goal. */
const COLUMNS = /^all columns/;

/** Cut parts out of a tensor of 134 MB or 67 MB. Each side does one kind of cut in a process of its own. */
export function cutRows({ python, runs = 3 }) {
  const path = dataFile(python, "cut", SIDE);
  return CUTS.flatMap(({ title, ...task }) => {
    console.error(`cut: ${title}`);
    const ours = (source, way) => () => runNode(["node/cut.mjs", path, source, way, JSON.stringify(task)]);
    const theirs = (framework) => () =>
      runChild(python, ["python/cut.py", path, framework, JSON.stringify(task)]);
    const sides = {
      mappedBytes: ours("mapped", "bytes"),
      mappedInto: ours("mapped", "readInto"),
      fileBytes: ours("file", "bytes"),
      fileInto: ours("file", "readInto"),
      numpy: theirs("numpy"),
      torch: theirs("pt"),
      limit: theirs("copyto"),
    };
    const measured = interleave(sides, runs, () => warmFile(path));
    assertSame(measured, "checksum");

    const row = (what, mine, other, opponent, time, goals) =>
      compareRuns(`cut ${title}, ${what}`, {
        ours: measured[mine],
        theirs: measured[other],
        opponent,
        time,
        goals,
      });
    const first = (run) => run.first;
    const later = ({ again }) => median(again);
    const goals = COLUMNS.test(title) ? { ratio: 0.5 } : {};
    const numpy = (what, mine, time) => row(what, mine, "numpy", "get_slice, numpy", time, goals);
    return [
      numpy("mapped, bytes()", "mappedBytes", later),
      numpy("mapped, readInto()", "mappedInto", later),
      numpy("file, bytes()", "fileBytes", later),
      numpy("file, readInto()", "fileInto", later),
      row("mapped, bytes()", "mappedBytes", "torch", "get_slice, torch", later),
      row("mapped, readInto()", "mappedInto", "limit", "numpy.copyto, a limit", later),
      row("numpy.copyto, a limit", "limit", "numpy", "get_slice, numpy", later),
      numpy("mapped, bytes(), first call", "mappedBytes", first),
      numpy("file, bytes(), first call", "fileBytes", first),
    ];
  });
}

/** The blocks of so many indices that an axis falls into. */
function blocks(length, size, part) {
  return Array.from({ length: length / size }, (_, block) => part([block * size, (block + 1) * size, null]));
}
