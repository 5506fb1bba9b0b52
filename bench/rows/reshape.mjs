import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runChild, runNode } from "../lib/child.mjs";
import { dataFile, WORK } from "../lib/data.mjs";
import { compareRuns, interleave, median } from "../lib/interleave.mjs";
import { settleDisk, touchMemory, warmFile } from "../lib/machine.mjs";

const COMMAND = fileURLToPath(new URL("../../packages/cli/bin/safetensors.js", import.meta.url));
const OBSERVE = new URL("../node/observe.mjs", import.meta.url).href;

/** The most memory that a command may take, whatever the size of the checkpoint. */
const MOST_MEMORY = 200e6;

/** What each command is asked to do; `input` and `output` are put in. `Python` says it in a word for its script. */
const TASKS = [
  {
    name: "split into 4 files",
    python: "split",
    args: (input, output) => ["split", input, output, "--files", "4"],
  },
  { name: "merge 4 files", python: "merge", args: (input, output) => ["merge", input, "--output", output] },
  {
    name: "extract half",
    python: "extract",
    args: (input, output) => ["extract", input, output, "--regex", "\\.layers\\.\\d*[02468]\\."],
  },
  {
    name: "cast F16 to BF16",
    python: "cast",
    args: (input, output) => ["cast", input, output, "--dtype", "BF16"],
  },
];

/** Split, merge, extract and cast a checkpoint of large tensors; but for the cast, the limit is to copy the bytes. */
export function reshapeRows({ python, size, runs = 4 }) {
  console.error(`reshape: ${size} GB`);
  return taskRows(python, "model", size, runs);
}

/** The same for a checkpoint of zeros, which needs no memory to be made. */
export function reshapeLargeRows(python, size, runs) {
  return taskRows(python, "zeros", size, runs);
}

function taskRows(python, kind, size, runs) {
  const whole = dataFile(python, kind, size);
  const parts = join(WORK, `${kind}-${size}-parts`);
  if (!existsSync(parts)) runNode([COMMAND, "split", whole, parts, "--files", "4"]);
  const tiny = dataFile(python, "header", 1);
  return TASKS.flatMap((task) => {
    const input = task.python === "merge" ? parts : whole;
    const output = join(WORK, task.python === "split" ? "reshaped" : "reshaped.safetensors");
    const remove = () => {
      for (const path of [output, `${output}.copy`]) rmSync(path, { recursive: true, force: true });
    };
    const command = (from) => runNode(["--import", OBSERVE, COMMAND, ...task.args(from, output)]);
    const sides = {
      ours: () => command(input),
      start: () => runNode(["--import", OBSERVE, COMMAND, "cast", tiny, output, "--dtype", "F32"]),
      python: () => runChild(python, ["python/reshape.py", task.python, input, output]),
      cp: () => runChild("cp", ["-r", input, `${output}.copy`]),
    };
    const measured = interleave(sides, runs, (side) => {
      remove();
      settleDisk();
      warmFile(whole);
      if (side !== "start") touchMemory(2.2e9 * size);
    });
    remove();
    return rowsOf(`${task.name}, ${size} GB`, task.python, measured);
  });
}

function rowsOf(title, task, { ours, start, python, cp }) {
  const whole = ({ wall }) => wall;
  const withoutFlush = ({ wall, flush }) => wall - flush;
  const starts = median(start.map(withoutFlush));
  const goals = { peak: MOST_MEMORY };
  const rows = [
    compareRuns(`${title}, whole process`, { ours, theirs: python, opponent: "Python", time: whole, goals }),
    compareRuns(`${title}, Python without imports`, {
      ours,
      theirs: python,
      opponent: "Python",
      timeOurs: whole,
      time: ({ work }) => work,
      goals,
    }),
  ];
  // Only where all bytes are copied, and none changes, does `cp` the same.
  if (task === "extract" || task === "cast") return rows;
  return [
    ...rows,
    compareRuns(`${title}, without start and flush`, {
      ours,
      theirs: cp,
      opponent: "cp",
      timeOurs: (run) => withoutFlush(run) - starts,
      time: whole,
      goals: { ...goals, ratio: 1 },
    }),
  ];
}
