import { measureConversion } from "../lib/convert.mjs";
import { dataFile, LARGE_GB } from "../lib/data.mjs";
import { conversionRows } from "./convert.mjs";
import { reshapeLargeRows } from "./reshape.mjs";

/** Convert, split, merge, extract and cast a checkpoint several times as large: memory must not grow with it. Two runs are enough for that. */
export function largeRows({ python, runs = 2 }) {
  console.error(`large: ${LARGE_GB} GB`);
  const source = dataFile(python, "zeros-bin", LARGE_GB);
  const measured = measureConversion(python, source, LARGE_GB * 1e9, runs);
  return [
    ...conversionRows(`convert ${LARGE_GB} GB of zeros`, measured),
    ...reshapeLargeRows(python, LARGE_GB, runs),
  ];
}
