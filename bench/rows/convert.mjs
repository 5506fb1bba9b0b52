import { MOST_MEMORY, measureConversion } from "../lib/convert.mjs";
import { dataFile } from "../lib/data.mjs";
import { compareRuns, median } from "../lib/interleave.mjs";

/** Convert a checkpoint of large contiguous tensors; the limit of it is to copy the file. */
export function convertRows({ python, size, runs = 4 }) {
  console.error(`convert: ${size} GB`);
  const source = dataFile(python, "model-bin", size);
  const measured = measureConversion(python, source, size * 1e9, runs);
  return conversionRows(`convert ${size} GB`, measured);
}

/** The rows of one conversion. Ours flushes the result to the disk, Python and `cp` do not. */
export function conversionRows(title, { ours, start, python, cp }) {
  const whole = ({ wall }) => wall;
  const withoutFlush = ({ wall, flush }) => wall - flush;
  const starts = median(start.map(withoutFlush));
  const torch = { ours, theirs: python, opponent: "torch + save_file" };
  const copy = { ours, theirs: cp, goals: { ratio: 1, peak: MOST_MEMORY } };
  return [
    compareRuns(`${title}, whole process`, { ...torch, time: whole }),
    compareRuns(`${title}, Python without imports`, { ...torch, timeOurs: whole, time: ({ work }) => work }),
    compareRuns(`${title}, without start and flush`, {
      ...copy,
      opponent: "cp",
      timeOurs: (run) => withoutFlush(run) - starts,
      time: whole,
    }),
    compareRuns(`${title}, without flush`, { ...copy, opponent: "cp", timeOurs: withoutFlush, time: whole }),
    compareRuns(`${title}, with flush`, {
      ...copy,
      opponent: "cp, then fsync",
      timeOurs: whole,
      time: ({ wall, flush }) => wall + flush,
    }),
  ];
}
