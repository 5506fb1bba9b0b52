import { SafetensorsError } from "../../../errors.ts";
import { plainQuantizeKernels, type QuantizeKernels } from "../kernels/quantize-kernels.ts";
import { type AwqRounding, onGrid, panelRule, scaledPanel } from "./awq-round.ts";
import { groupSize } from "./grid.ts";
import { gridOf, type Panel } from "./grid-panel.ts";
import { squaredErrors } from "./squared-errors.ts";
import { checkWeight, PANEL_ROWS } from "./weight-rows.ts";

/** Shrinking goes in steps of a twentieth, ten times: down to just over half. */
const STEPS = 10;
const STEP = 1 / 20;

/**
 * Looks for the largest magnitude of each group's weights with which rounding loses least, the larger weights cut to it
 * (AWQ's clip search). Only the group's own inputs count. Queries and keys are left out in the field: their outputs are
 * multiplied with each other.
 *
 * @param weight `[N, K]` as it is, not scaled
 * @param scale `[K]`, what `awqScales` found
 * @param hessian `[K, K]`: the sum of the products of the inputs as they are, not divided by the scale
 * @returns `[N, G]`, for the scaled weight; `awqCodes` takes it
 * @throws `SIZE_MISMATCH`, `UNSUPPORTED` as `awqScales`
 */
export function awqLimits(
  weight: Float32Array,
  scale: Float32Array,
  hessian: Float32Array | Float64Array,
  options: AwqRounding,
  kernels: QuantizeKernels = plainQuantizeKernels,
): Float32Array {
  const columns = scale.length;
  const rows = checkWeight(weight, columns);
  if (hessian.length !== columns * columns) {
    const text = `a Hessian for ${columns} inputs has ${columns * columns} elements, this one has ${hessian.length}`;
    throw new SafetensorsError("SIZE_MISMATCH", text);
  }
  const size = groupSize(options, columns);
  const groups = Math.ceil(columns / size);
  const limits = new Float32Array(rows * groups);
  for (let group = 0; group < groups; group++) {
    const from = group * size;
    const width = Math.min(size, columns - from);
    const inputs = groupHessian(hessian, scale, from, width);
    for (let row = 0; row < rows; row += PANEL_ROWS) {
      const count = Math.min(PANEL_ROWS, rows - row);
      const part = new Float32Array(count * width);
      for (let i = 0; i < count; i++) {
        const at = (row + i) * columns + from;
        part.set(weight.subarray(at, at + width), i * width);
      }
      const panel = scaledPanel(part, count, scale.subarray(from, from + width));
      const found = bestLimits(panel, inputs, options, kernels);
      for (let i = 0; i < count; i++) limits[(row + i) * groups + group] = found[i]!;
    }
  }
  return limits;
}

/** The Hessian of some neighbouring inputs after they are divided by their scales. */
function groupHessian(
  hessian: Float32Array | Float64Array,
  scale: Float32Array,
  from: number,
  width: number,
): Float64Array {
  const own = new Float64Array(width * width);
  for (let i = 0; i < width; i++) {
    for (let j = 0; j < width; j++) {
      const value = hessian[(from + i) * scale.length + from + j]!;
      own[i * width + j] = value / (scale[from + i]! * scale[from + j]!);
    }
  }
  return own;
}

/** For each row of one group the limit that loses least. */
function bestLimits(
  panel: Panel,
  hessian: Float64Array,
  options: AwqRounding,
  kernels: QuantizeKernels,
): Float32Array {
  const { values, rows, columns } = panel;
  const top = 2 ** options.bits - 1;
  const whole = new Float64Array(rows);
  for (const [at, value] of values.entries()) {
    const row = Math.floor(at / columns);
    whole[row] = Math.max(whole[row]!, Math.abs(value));
  }
  const best = Float32Array.from(whole);
  const least = new Float64Array(rows).fill(Number.POSITIVE_INFINITY);
  const rule = panelRule(options);
  const cut = new Float64Array(values.length);
  for (let step = 0; step < STEPS; step++) {
    const limits = Float32Array.from(whole, (largest) => largest * (1 - step * STEP));
    for (let at = 0; at < cut.length; at++) {
      const limit = limits[Math.floor(at / columns)]!;
      cut[at] = Math.min(Math.max(values[at]!, -limit), limit);
    }
    const grid = gridOf({ values: cut, rows, columns }, columns, rule);
    for (let at = 0; at < cut.length; at++)
      cut[at] = onGrid(cut[at]!, grid, Math.floor(at / columns), top) - values[at]!;
    for (const [row, loss] of squaredErrors(cut, rows, hessian, columns, kernels).entries()) {
      if (loss >= least[row]!) continue;
      least[row] = loss;
      best[row] = limits[row]!;
    }
  }
  return best;
}
