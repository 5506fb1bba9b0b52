import { squaredErrors } from "../../src/quant/make/calibrated/squared-errors.ts";
import type { GroupedCodes } from "../../src/quant/make/grouped-codes.ts";
import { numbers } from "../support.ts";

/** Numbers of a normal distribution, more or less. */
export function gaussian(seed: number): () => number {
  const next = numbers(seed);
  return () => {
    let sum = 0;
    for (let i = 0; i < 12; i++) sum += next() / 2 ** 32;
    return sum - 6;
  };
}

export interface Inputs {
  readonly xtx: Float32Array;
  readonly absMean: Float32Array;
  readonly absMax: Float32Array;
  readonly count: number;
}

/** Statistics of inputs whose neighbours correlate with 0.9, every sixteenth being ten times as loud. */
export function inputsOf(columns: number, count: number, seed: number): Inputs {
  const next = gaussian(seed);
  const xtx = new Float64Array(columns * columns);
  const absMean = new Float32Array(columns);
  const absMax = new Float32Array(columns);
  const token = new Float64Array(columns);
  for (let t = 0; t < count; t++) {
    for (let k = 0, last = next(); k < columns; k++, last = 0.9 * last + Math.sqrt(0.19) * next()) {
      token[k] = last * (k % 16 === 3 ? 10 : 1);
      absMean[k]! += Math.abs(token[k]!) / count;
      absMax[k] = Math.max(absMax[k]!, Math.abs(token[k]!));
    }
    for (let i = 0; i < columns; i++)
      for (let j = 0; j < columns; j++) xtx[i * columns + j]! += token[i]! * token[j]!;
  }
  return { xtx: Float32Array.from(xtx), absMean, absMax, count };
}

export function weightOf(rows: number, columns: number, seed: number): Float32Array {
  const next = gaussian(seed);
  return Float32Array.from({ length: rows * columns }, () => next());
}

/** What codes stand for. */
export function valuesOf({
  shape: [rows, columns],
  codes,
  scales,
  zeros,
  groups,
}: GroupedCodes): Float64Array {
  return Float64Array.from(codes, (code, at) => {
    const column = at % columns;
    const group = typeof groups === "number" ? Math.floor(column / groups) : groups[column]!;
    const grid = group * rows + Math.floor(at / columns);
    return (code - zeros[grid]!) * scales[grid]!;
  });
}

/** The squared error of the outputs, of a weight whose inputs were multiplied by `scale`. */
export function outputError(
  found: GroupedCodes,
  weight: Float32Array,
  xtx: Float32Array,
  scale?: Float32Array,
): number {
  const [rows, columns] = found.shape;
  const errors = valuesOf(found).map((value, at) => weight[at]! - value / (scale?.[at % columns] ?? 1));
  return squaredErrors(errors, rows, xtx, columns).reduce((sum, error) => sum + error, 0);
}
