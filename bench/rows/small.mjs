import { measureConversion } from "../lib/convert.mjs";
import { dataFile } from "../lib/data.mjs";
import { conversionRows } from "./convert.mjs";

const TENSORS = 20_000;

/** Convert many small tensors: the cost of a tensor, not of a byte. */
export function smallRows({ python, runs = 4 }) {
  console.error(`small: ${TENSORS} tensors`);
  const source = dataFile(python, "small-bin", TENSORS);
  const measured = measureConversion(python, source, 20e6, runs);
  const isAgainstPython = ({ opponent }) => !opponent.startsWith("cp");
  return conversionRows(`convert ${TENSORS.toLocaleString("en")} small tensors`, measured).filter(
    isAgainstPython,
  );
}
