import { quantizerFrom } from "./define.ts";
import { modelScaleDtype, part, scalesPart } from "./grouped-codes.ts";
import { compressedTensorsScales } from "./integer-rules.ts";
import type { RunKernels } from "./kernels/runs.ts";
import type { WeightQuantizer } from "./quantizer.ts";

/** The largest finite value of F8_E4M3. */
const MAX = 448;

/** Rows and columns that share a scale in the layout of DeepSeek-V3. */
const BLOCK = 128;

/** compressed-tensors FP8_DYNAMIC: one scale for each output. */
export const fp8Dynamic: WeightQuantizer = perScale(
  "fp8-dynamic",
  () => 1,
  (rows) => [rows, 1],
);

/** compressed-tensors FP8 with one scale for the whole weight. */
export const fp8Tensor: WeightQuantizer = perScale(
  "fp8-tensor",
  (rows) => rows,
  () => [1],
);

/** F8_E4M3 of `w / scale`, with `scale = amax / 448` in the model's dtype, for every so many rows. */
function perScale(
  scheme: string,
  rowsIn: (rows: number) => number,
  scaleShape: (rows: number) => number[],
): WeightQuantizer {
  return quantizerFrom({
    scheme,
    describe: (rows, columns, dtype) => [
      { role: "weight", dtype: "F8_E4M3", shape: [rows, columns] },
      { role: "weight_scale", dtype: modelScaleDtype(dtype), shape: scaleShape(rows) },
    ],
    quantize(values, rows, columns, dtype, { runs }) {
      const scaleDtype = modelScaleDtype(dtype);
      const amax = largestOf(runs.largest(values, columns), rowsIn(rows));
      const scales = compressedTensorsScales(
        amax.map((value) => value / MAX),
        scaleDtype,
      );
      // A negative zero becomes positive, as adding its zero point makes it in the original.
      const codes = runs.divideToE4M3(values, columns, repeated(scales, rowsIn(rows)));
      return new Map([
        ["weight", part("F8_E4M3", [rows, columns], codes)],
        ["weight_scale", scalesPart(scales, scaleShape(rows), scaleDtype)],
      ]);
    },
  });
}

/**
 * DeepSeek-V3 and transformers' fine-grained FP8: a scale for every 128 rows and 128 columns, by which the codes are
 * multiplied. The layout allows smaller blocks at the edges; transformers misreads these, so they are not made.
 */
export const fp8Block: WeightQuantizer = quantizerFrom({
  scheme: "fp8-block",
  misfit: (rows, columns) =>
    rows % BLOCK === 0 && columns % BLOCK === 0
      ? undefined
      : `[${rows}, ${columns}] is no whole number of blocks of ${BLOCK} by ${BLOCK}`,
  describe: (rows, columns) => [
    { role: "weight", dtype: "F8_E4M3", shape: [rows, columns] },
    { role: "weight_scale_inv", dtype: "F32", shape: [rows / BLOCK, columns / BLOCK] },
  ],
  quantize(values, rows, columns, _, { runs }) {
    const across = columns / BLOCK;
    const factors = blockFactors(runs, values, rows, across);
    const inverses = factors.map((factor) => 1 / factor);
    // Each row of a block is a run.
    const ofRuns = new Float32Array(rows * across);
    for (let row = 0; row < rows; row++) {
      const block = Math.floor(row / BLOCK) * across;
      ofRuns.set(factors.subarray(block, block + across), row * across);
    }
    const codes = runs.multiplyToE4M3(values, BLOCK, ofRuns);
    return new Map([
      ["weight", part("F8_E4M3", [rows, columns], codes)],
      ["weight_scale_inv", part("F32", [rows / BLOCK, columns / BLOCK], inverses)],
    ]);
  },
});

/** The largest of every so many numbers. */
function largestOf(numbers: Float32Array, each: number): Float32Array {
  const largest = new Float32Array(numbers.length / each);
  for (const [at, number] of numbers.entries()) {
    const place = Math.floor(at / each);
    if (number > largest[place]!) largest[place] = number;
  }
  return largest;
}

/** Each number so many times. */
function repeated(numbers: Float32Array, times: number): Float32Array {
  return Float32Array.from({ length: numbers.length * times }, (_, at) => numbers[Math.floor(at / times)]!);
}

/** What the values of each block are multiplied with; 1 where all are zero, or too small to be scaled. */
function blockFactors(runs: RunKernels, values: Float32Array, rows: number, across: number): Float32Array {
  const amax = new Float32Array((rows / BLOCK) * across);
  for (const [at, value] of runs.largest(values, BLOCK).entries()) {
    const block = Math.floor(at / across / BLOCK) * across + (at % across);
    if (value > amax[block]!) amax[block] = value;
  }
  return amax.map((value) => {
    // Not 448 / amax: torch divides a number by a tensor so.
    const factor = Math.fround(MAX * Math.fround(1 / value));
    return Number.isFinite(factor) ? factor : 1;
  });
}
