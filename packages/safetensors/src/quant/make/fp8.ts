import { quantizerFrom } from "./define.ts";
import { modelScaleDtype, part, scalesPart } from "./grouped-codes.ts";
import { compressedTensorsScales } from "./integer-rules.ts";
import type { Cast, WeightQuantizer } from "./quantizer.ts";
import { largest } from "./ranges.ts";

/** The largest finite value of F8_E4M3. */
const MAX = 448;

/** Values that are cast at once. */
const PANEL = 1 << 16;

/** Rows and columns that share a scale in the layout of DeepSeek-V3. */
const BLOCK = 128;

/** compressed-tensors FP8_DYNAMIC: one scale for each output. */
export const fp8Dynamic: WeightQuantizer = perRows("fp8-dynamic", () => 1);

/** compressed-tensors FP8 with one scale for the whole weight. */
export const fp8Tensor: WeightQuantizer = perRows("fp8-tensor", (rows) => rows);

/** F8_E4M3 of `w / scale`, with `scale = amax / 448` in the model's dtype, for every so many rows. */
function perRows(scheme: string, rowsIn: (rows: number) => number): WeightQuantizer {
  const scaleShape = (rows: number): number[] => (rowsIn(rows) === 1 ? [rows, 1] : [1]);
  return quantizerFrom({
    scheme,
    describe: (rows, columns, dtype) => [
      { role: "weight", dtype: "F8_E4M3", shape: [rows, columns] },
      { role: "weight_scale", dtype: modelScaleDtype(dtype), shape: scaleShape(rows) },
    ],
    quantize(values, rows, columns, dtype, cast) {
      const length = rowsIn(rows) * columns;
      const scaleDtype = modelScaleDtype(dtype);
      const amax = Float32Array.from({ length: values.length / length }, (_, i) =>
        largest(values, i * length, (i + 1) * length),
      );
      const scales = compressedTensorsScales(
        amax.map((value) => value / MAX),
        scaleDtype,
      );
      const codes = codesOf(values, columns, cast, (scaled, start) => {
        const scale = scales[Math.floor(start / length)]!;
        // Adding zero makes a negative zero positive, as adding its zero point does in the original.
        for (let i = 0; i < columns; i++) scaled[i] = Math.fround(values[start + i]! / scale) + 0;
      });
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
  quantize(values, rows, columns, _, cast) {
    const factors = blockFactors(values, rows, columns);
    const inverses = factors.map((factor) => 1 / factor);
    const codes = codesOf(values, columns, cast, (scaled, start) => {
      const blocks = Math.floor(start / columns / BLOCK) * (columns / BLOCK);
      for (let i = 0; i < columns; i++) scaled[i] = values[start + i]! * factors[blocks + (i >> 7)]!;
    });
    return new Map([
      ["weight", part("F8_E4M3", [rows, columns], codes)],
      ["weight_scale_inv", part("F32", [rows / BLOCK, columns / BLOCK], inverses)],
    ]);
  },
});

/**
 * The codes of values after scaling, a panel of rows at a time, as a cast has a cost of its own.
 *
 * @param scale puts the scaled values of the row that begins at `start` into memory of its length
 */
function codesOf(
  values: Float32Array,
  columns: number,
  cast: Cast,
  scale: (scaled: Float32Array, start: number) => void,
): Uint8Array {
  const codes = new Uint8Array(values.length);
  const panel = new Float32Array(Math.max(1, Math.floor(PANEL / columns)) * columns);
  for (let start = 0; start < values.length; start += panel.length) {
    const length = Math.min(panel.length, values.length - start);
    for (let at = 0; at < length; at += columns) scale(panel.subarray(at, at + columns), start + at);
    codes.set(cast("F32", "F8_E4M3", new Uint8Array(panel.buffer, 0, length * 4)), start);
  }
  return codes;
}

/** What the values of each block are multiplied with; 1 where all are zero, or too small to be scaled. */
function blockFactors(values: Float32Array, rows: number, columns: number): Float32Array {
  const across = columns / BLOCK;
  const amax = new Float32Array((rows / BLOCK) * across);
  for (let start = 0; start < values.length; start += BLOCK) {
    const block = Math.floor(start / columns / BLOCK) * across + ((start % columns) >> 7);
    amax[block] = Math.max(amax[block]!, largest(values, start, start + BLOCK));
  }
  return amax.map((value) => {
    // Not 448 / amax: torch divides a number by a tensor so.
    const factor = Math.fround(MAX * Math.fround(1 / value));
    return Number.isFinite(factor) ? factor : 1;
  });
}
