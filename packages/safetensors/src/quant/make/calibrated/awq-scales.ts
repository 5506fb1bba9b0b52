import { SafetensorsError } from "../../../errors.ts";
import { plainQuantizeKernels, type QuantizeKernels } from "../kernels/quantize-kernels.ts";
import { type AwqRounding, onGrid, panelRule, scaledPanel } from "./awq-round.ts";
import { groupSize } from "./grid.ts";
import { gridOf } from "./grid-panel.ts";
import { squaredErrors } from "./squared-errors.ts";
import { checkWeight } from "./weight-rows.ts";

/** Linear layers that take the same input, and what that is like. */
export interface AwqInput extends AwqRounding {
  /** Their weights, each `[N, K]`; they are not changed. */
  readonly weights: readonly Float32Array[];
  /** `[K, K]`: the sum of the products of the inputs. */
  readonly hessian: Float32Array | Float64Array;
  /** `[K]`: the mean magnitude of each input. */
  readonly absMean: Float32Array;
  /** How many exponents are tried. 20 unless given. */
  readonly grid?: number | undefined;
  /** Whether scales depend on the weights too. True unless given. */
  readonly duoScaling?: boolean | undefined;
  /** How many rows, spread over all weights, the loss is measured with. 512 unless given; time goes with it. */
  readonly lossRows?: number | undefined;
}

/** The scales that lose least. */
export interface AwqScales {
  /** `[K]`: the weights' inputs are to be multiplied by it, and what makes the input divided. */
  readonly scale: Float32Array;
  /** The exponent of the inputs' magnitude; nothing where the weights as they are lose least. */
  readonly ratio: number | undefined;
  /** The squared error of the outputs of all rows that were measured, with a scale of 1 and with this one. */
  readonly loss: { readonly before: number; readonly after: number };
}

/**
 * Looks for the scale of each input with which rounding loses least (AWQ). For each of the ratios i / grid the scale is
 * `absMean^ratio / (weightMean^(1 - ratio) + 1e-4)`, divided by the root of its largest times its smallest; or with duo scaling
 * off `absMean^ratio`. The loss is exact for all calibration inputs, as the Hessian holds them. The weights as they are also
 * take part, so that the result is never worse than that.
 *
 * Source: Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration" (2023).
 *
 * @throws `SIZE_MISMATCH` for sizes that do not agree, `UNSUPPORTED` for NaN, infinities, and other bits or groups
 */
export function awqScales(input: AwqInput, kernels: QuantizeKernels = plainQuantizeKernels): AwqScales {
  const { weights, hessian, absMean, grid = 20, duoScaling = true, lossRows = 512 } = input;
  const columns = absMean.length;
  if (hessian.length !== columns * columns) {
    const text = `a Hessian for ${columns} inputs has ${columns * columns} elements, this one has ${hessian.length}`;
    throw new SafetensorsError("SIZE_MISMATCH", text);
  }
  for (const weight of weights) checkWeight(weight, columns);
  const group = groupSize(input, columns);
  const elements = weights.reduce((sum, weight) => sum + weight.length, 0);
  const measured = weights.map((weight) =>
    spreadRows(weight, columns, Math.ceil((weight.length / elements) * lossRows)),
  );
  const lossOf = (scale: Float32Array): number =>
    measured.reduce((sum, weight) => sum + lossWith(weight, scale, group, input, kernels), 0);
  const plain = new Float32Array(columns).fill(1);
  const before = lossOf(plain);
  let best: AwqScales = { scale: plain, ratio: undefined, loss: { before, after: before } };
  const weightMean = duoScaling ? meanWeight(weights, columns, group) : undefined;
  for (let i = 0; i < grid; i++) {
    const ratio = i / grid;
    const scale = scaleOf(absMean, weightMean, ratio);
    const after = lossOf(scale);
    if (after < best.loss.after) best = { scale, ratio, loss: { before, after } };
  }
  return best;
}

function scaleOf(absMean: Float32Array, weightMean: Float64Array | undefined, ratio: number): Float32Array {
  const scale = Float64Array.from(absMean, (mean, input) => {
    const weight = weightMean ? weightMean[input]! ** (1 - ratio) + 1e-4 : 1;
    return Math.max(mean ** ratio / weight, 1e-4);
  });
  let largest = 0;
  let smallest = Number.POSITIVE_INFINITY;
  for (const value of scale) {
    if (value > largest) largest = value;
    if (value < smallest) smallest = value;
  }
  const middle = Math.sqrt(largest * smallest);
  return Float32Array.from(scale, (value) => value / middle);
}

/** For each input the mean, over all rows, of the magnitude of its weights next to the largest of their group. */
function meanWeight(weights: readonly Float32Array[], columns: number, group: number): Float64Array {
  const sum = new Float64Array(columns);
  let rows = 0;
  for (const weight of weights) {
    rows += weight.length / columns;
    for (let row = 0; row < weight.length; row += columns) {
      for (let from = 0; from < columns; from += group) {
        const to = Math.min(from + group, columns);
        let largest = 0;
        for (let column = from; column < to; column++)
          largest = Math.max(largest, Math.abs(weight[row + column]!));
        for (let column = from; column < to; column++)
          sum[column]! += Math.abs(weight[row + column]!) / (largest + 1e-6);
      }
    }
  }
  return sum.map((value) => value / rows);
}

/** As many rows as asked for, at equal distances; all if there are no more. */
function spreadRows(weight: Float32Array, columns: number, count: number): Float32Array {
  const rows = weight.length / columns;
  if (rows <= count) return weight;
  const chosen = new Float32Array(count * columns);
  for (let i = 0; i < count; i++) {
    const from = Math.floor((i * rows) / count) * columns;
    chosen.set(weight.subarray(from, from + columns), i * columns);
  }
  return chosen;
}

/** The squared error of the outputs when a weight is scaled, rounded and scaled back. */
function lossWith(
  weight: Float32Array,
  scale: Float32Array,
  group: number,
  input: AwqInput,
  kernels: QuantizeKernels,
): number {
  const columns = scale.length;
  const rows = weight.length / columns;
  const panel = scaledPanel(weight, rows, scale);
  const grid = gridOf(panel, group, panelRule(input));
  const top = 2 ** input.bits - 1;
  const { values } = panel;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const at = row * columns + column;
      const rounded = onGrid(values[at]!, grid, Math.floor(column / group) * rows + row, top);
      values[at] = weight[at]! - rounded / scale[column]!;
    }
  }
  const errors = squaredErrors(values, rows, input.hessian, columns, kernels);
  return errors.reduce((sum, error) => sum + error, 0);
}
