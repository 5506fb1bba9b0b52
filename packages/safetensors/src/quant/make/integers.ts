import type { FloatDtype } from "../../dtype/cast.ts";
import { transposed } from "../transposed.ts";
import { groupMisfit, quantizerFrom } from "./define.ts";
import { type GroupedCodes, modelScaleDtype } from "./grouped-codes.ts";
import {
  awqAsymmetric,
  compressedTensorsAsymmetric,
  compressedTensorsSymmetric,
  gptqAsymmetric,
  gptqSymmetric,
  type IntegerRule,
} from "./integer-rules.ts";
import type { RunKernels } from "./kernels/runs.ts";
import { packAwq } from "./pack-awq.ts";
import { packCompressedTensors } from "./pack-compressed-tensors.ts";
import { packGptq } from "./pack-gptq.ts";
import type { StoredPart, WeightQuantizer } from "./quantizer.ts";
import { wordCount } from "./words.ts";

/** Integers of a number of bits, with one scale for every group of neighbours along the inputs. */
export interface IntegerFormat {
  readonly bits: number;
  /** -1: the whole row is one group. */
  readonly group: number;
  readonly symmetric: boolean;
}

/** GPTQ files, rounded to nearest: no calibration. */
export function gptqQuantizer({ bits, group, symmetric }: IntegerFormat): WeightQuantizer {
  const rule = symmetric ? gptqSymmetric : gptqAsymmetric;
  return quantizerFrom({
    scheme: nameOf("gptq", bits, group, symmetric),
    misfit: (rows, columns) =>
      groupMisfit(columns, groupIn(columns, group)) ??
      wordMisfit("inputs", columns, bits) ??
      wordMisfit("outputs", rows, bits),
    describe: (rows, columns) => [
      stored("qweight", "I32", wordCount(columns, bits), rows),
      stored("qzeros", "I32", columns / groupIn(columns, group), wordCount(rows, bits)),
      stored("scales", "F16", columns / groupIn(columns, group), rows),
      stored("g_idx", "I32", columns),
    ],
    quantize: (values, rows, columns, dtype, { runs }) =>
      packGptq(rounded(runs, values, rows, columns, { bits, group }, rule, dtype)),
  });
}

/** AWQ files of version "gemm" with zero points, rounded to nearest: no calibration, so no channel is scaled. */
export function awqQuantizer({ group }: Pick<IntegerFormat, "group">): WeightQuantizer {
  return quantizerFrom({
    scheme: nameOf("awq", 4, group, true),
    misfit: (rows, columns) =>
      groupMisfit(columns, groupIn(columns, group)) ?? wordMisfit("outputs", rows, 4),
    describe: (rows, columns) => [
      stored("qweight", "I32", columns, rows / 8),
      stored("qzeros", "I32", columns / groupIn(columns, group), rows / 8),
      stored("scales", "F16", columns / groupIn(columns, group), rows),
    ],
    quantize: (values, rows, columns, dtype, { runs }) =>
      packAwq(rounded(runs, values, rows, columns, { bits: 4, group }, awqAsymmetric, dtype)),
  });
}

/**
 * compressed-tensors, format "pack-quantized". Scales are computed and stored in the model's dtype; the codes are chosen in
 * 32-bit floats, as the original's GPU kernels do (on a CPU it rounds quotients of 16-bit weights twice).
 */
export function compressedTensorsQuantizer({ bits, group, symmetric }: IntegerFormat): WeightQuantizer {
  const rule = symmetric ? compressedTensorsSymmetric : compressedTensorsAsymmetric;
  return quantizerFrom({
    scheme: nameOf("ct", bits, group, symmetric),
    misfit: (_, columns) => groupMisfit(columns, groupIn(columns, group)),
    describe(rows, columns, dtype) {
      const groups = columns / groupIn(columns, group);
      return [
        stored("weight_packed", "I32", rows, wordCount(columns, bits)),
        stored("weight_scale", modelScaleDtype(dtype), rows, groups),
        stored("weight_shape", "I64", 2),
        ...(symmetric ? [] : [stored("weight_zero_point", "I32", wordCount(rows, bits), groups)]),
      ];
    },
    quantize(values, rows, columns, dtype, { runs }) {
      const scaleDtype = modelScaleDtype(dtype);
      const codes = rounded(runs, values, rows, columns, { bits, group }, rule, scaleDtype, !symmetric);
      return packCompressedTensors(codes, scaleDtype, symmetric);
    },
  });
}

/** The groups of a row: given, or the row. */
function groupIn(columns: number, group: number): number {
  return group === -1 ? columns : group;
}

function nameOf(family: string, bits: number, group: number, symmetric: boolean): string {
  return `${family}-int${bits}${group === -1 ? "" : `-g${group}`}${symmetric ? "" : "-asym"}`;
}

/** Codes of a whole number of words, without which kernels do not take them. */
function wordMisfit(what: string, count: number, bits: number): string | undefined {
  const codes = 32 % bits === 0 ? 32 / bits : 32;
  return count % codes === 0 ? undefined : `${count} ${what} are no multiple of ${codes}, which fill words`;
}

function stored(role: string, dtype: StoredPart["dtype"], ...shape: number[]): StoredPart {
  return { role, dtype, shape };
}

/**
 * Each value by the nearest code of its group: `round(w / scale) + zero`, kept to the codes. compressed-tensors adds the zero
 * point of its signed integers before it rounds.
 */
function rounded(
  runs: RunKernels,
  values: Float32Array,
  rows: number,
  columns: number,
  { bits, group: asked }: Pick<IntegerFormat, "bits" | "group">,
  rule: IntegerRule,
  dtype: FloatDtype,
  addsZeroFirst = false,
): GroupedCodes {
  const group = groupIn(columns, asked);
  const groups = columns / group;
  const { min, max } = runs.ranges(values, group);
  const ranges = { min: transposed(min, rows, groups), max: transposed(max, rows, groups) };
  const grid = rule(ranges, bits, dtype);
  const scales = transposed(grid.scales, groups, rows);
  const zeros = Float32Array.from(transposed(grid.zeros, groups, rows));
  const middle = 2 ** (bits - 1);
  const steps = addsZeroFirst
    ? {
        scales,
        before: zeros.map((zero) => zero - middle),
        after: new Float32Array(zeros.length).fill(middle),
      }
    : { scales, before: new Float32Array(zeros.length), after: zeros };
  const codes = runs.codes(values, group, steps, 2 ** bits - 1);
  return { shape: [rows, columns], bits, codes, ...grid, groups: group };
}
