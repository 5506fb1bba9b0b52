import type { GroupedCodes } from "../grouped-codes.ts";
import { plainQuantizeKernels, type QuantizeKernels } from "../kernels/quantize-kernels.ts";
import { gptqRule, groupSize } from "./grid.ts";
import { gridOf, roundPanel } from "./grid-panel.ts";
import { type FactorOptions, factorHessian } from "./hessian-factor.ts";
import { type OutputError, type SolveOptions, solveRows } from "./solve-rows.ts";
import { checkWeight } from "./weight-rows.ts";

/** A weight, what its inputs are like, and how it is to be quantised. */
export interface GptqInput extends SolveOptions, FactorOptions {
  /** `[N, K]` */
  readonly weight: Float32Array;
  /** `[K, K]`: the sum of the products of the inputs; its scale does not matter. */
  readonly hessian: Float32Array | Float64Array;
  /** K */
  readonly columns: number;
}

/** A weight, quantised with calibration. */
export interface GptqResult extends GroupedCodes {
  /** Not known where the Hessian could not be factored. */
  readonly error?: OutputError;
  /** What else than asked for was done, and why. */
  readonly note?: string;
}

/**
 * Quantises a weight with GPTQ. Where the Hessian is not positive definite with any damping, the weight is rounded
 * (RTN) and a note says so.
 *
 * @throws what `factorHessian` and `solveRows` throw
 */
export function gptq(input: GptqInput, kernels: QuantizeKernels = plainQuantizeKernels): GptqResult {
  const { weight, hessian, columns, damp = 0.01 } = input;
  const factor = factorHessian(hessian, columns, input, kernels);
  if (!factor) {
    const note =
      "the Hessian is not positive definite with any damping up to its mean diagonal: rounded instead (RTN)";
    return { ...roundToNearest(weight, columns, input), note };
  }
  const solved = solveRows(weight, factor, input, kernels);
  if (factor.damp === damp) return solved;
  return {
    ...solved,
    note: `the Hessian is not positive definite with a damping of ${damp}: ${factor.damp} was used`,
  };
}

/** Rounds each weight by itself, on the grids of GPTQ. */
export function roundToNearest(weight: Float32Array, columns: number, options: SolveOptions): GroupedCodes {
  const rows = checkWeight(weight, columns);
  const group = groupSize(options, columns);
  const panel = { values: Float64Array.from(weight), rows, columns };
  const codes = new Uint8Array(weight.length);
  const { bits, scaleDtype = "F32" } = options;
  const grid = gridOf(panel, group, { rule: gptqRule(options), bits, scaleDtype });
  roundPanel(panel, group, bits, grid, codes);
  return { shape: [rows, columns], bits, codes, ...grid, groups: group };
}
