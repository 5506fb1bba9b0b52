import type { FloatDtype } from "../../../dtype/cast.ts";
import type { GroupedCodes } from "../grouped-codes.ts";
import type { IntegerGrid } from "../integer-rules.ts";
import { type MatrixKernels, WIDE } from "../kernels/matrices.ts";
import { plainQuantizeKernels, type QuantizeKernels } from "../kernels/quantize-kernels.ts";
import { type CodeFormat, gptqRule, groupSize } from "./grid.ts";
import { emptyGrid, gridOf, type Panel, placeGrid, roundPanel, setGroupGrid } from "./grid-panel.ts";
import type { HessianFactor } from "./hessian-factor.ts";
import { errorsOf, inOrder, squaredNorm, sumOfSquares, undamped } from "./panel-error.ts";
import { sweepBlock, takeErrors } from "./sweep.ts";
import { checkWeight, PANEL_ROWS } from "./weight-rows.ts";

/** How a weight is quantised with a factor. */
export interface SolveOptions extends CodeFormat {
  /** With a factor in act-order: groups are neighbours all the same, with scales of the weight as it was. */
  readonly staticGroups?: boolean | undefined;
  /** What the scales will be stored as, so that codes are chosen for what is read again. F32 unless given. */
  readonly scaleDtype?: FloatDtype | undefined;
}

/** The squared error of a layer's outputs, over all inputs that the Hessian is of. */
export interface OutputError {
  /** With each weight rounded by itself (RTN), on the same kind of grid. */
  readonly before: number;
  readonly after: number;
}

/** Rows of a weight, quantised. */
export interface SolvedRows extends GroupedCodes {
  readonly error: OutputError;
}

/**
 * Quantises rows of a weight, each input's error made up for by the inputs that follow (GPTQ). Rows do not depend on each
 * other: workers can share the factor and solve some each, and `joinRows` puts them together.
 *
 * A group's scale is found when its columns have taken up all errors before it. (The authors' program leaves out those
 * of its present block of 128 columns; so the two agree where its block is no larger than the group.)
 *
 * @param weight `[N, K]`; it is not changed
 * @throws `SIZE_MISMATCH` if the weight is no whole rows; `UNSUPPORTED` for NaN, infinities, and other bits or groups
 */
export function solveRows(
  weight: Float32Array,
  factor: HessianFactor,
  options: SolveOptions,
  { matrices }: QuantizeKernels = plainQuantizeKernels,
): SolvedRows {
  const { size: columns, order } = factor;
  const rows = checkWeight(weight, columns);
  const group = groupSize(options, columns);
  const codes = new Uint8Array(rows * columns);
  const grid = emptyGrid(Math.ceil(columns / group), rows);
  let before = 0;
  let after = 0;
  for (let from = 0; from < rows; from += PANEL_ROWS) {
    const count = Math.min(PANEL_ROWS, rows - from);
    const part = weight.subarray(from * columns, (from + count) * columns);
    const solved = solvePanel(part, count, group, factor, options, codes.subarray(from * columns), matrices);
    placeGrid(solved.grid, count, grid, rows, from);
    before += solved.before;
    after += solved.after;
  }
  const followsOrder = order !== undefined && !options.staticGroups && group < columns;
  return {
    shape: [rows, columns],
    bits: options.bits,
    codes,
    ...grid,
    groups: followsOrder ? groupsOf(order, group) : group,
    error: { before, after },
  };
}

/** The rows of one weight, solved in parts: at least one, in their order. */
export function joinRows(parts: readonly SolvedRows[]): SolvedRows {
  const [first] = parts;
  const columns = first!.shape[1];
  const rows = parts.reduce((sum, { shape }) => sum + shape[0], 0);
  const codes = new Uint8Array(rows * columns);
  const grid = emptyGrid(first!.shape[0] === 0 ? 0 : first!.scales.length / first!.shape[0], rows);
  let from = 0;
  let before = 0;
  let after = 0;
  for (const part of parts) {
    codes.set(part.codes, from * columns);
    placeGrid(part, part.shape[0], grid, rows, from);
    from += part.shape[0];
    before += part.error.before;
    after += part.error.after;
  }
  return { ...first!, shape: [rows, columns], codes, ...grid, error: { before, after } };
}

/** The group of each input, where groups are neighbours in another order. */
function groupsOf(order: Int32Array, group: number): Int32Array {
  const groups = new Int32Array(order.length);
  for (const [position, input] of order.entries()) groups[input] = Math.floor(position / group);
  return groups;
}

interface SolvedPanel {
  readonly grid: IntegerGrid;
  readonly before: number;
  readonly after: number;
}

/** Sets the codes of a few rows. */
function solvePanel(
  weight: Float32Array,
  rows: number,
  group: number,
  factor: HessianFactor,
  options: SolveOptions,
  codes: Uint8Array,
  kernels: MatrixKernels,
): SolvedPanel {
  const { size: columns, dead, order } = factor;
  const { bits, staticGroups = false, scaleDtype = "F32" } = options;
  const values = new Float64Array(weight);
  for (let column = 0; column < columns; column++) {
    if (dead[column] === 1) for (let at = column; at < values.length; at += columns) values[at] = 0;
  }
  const panel: Panel = { values, rows, columns };
  const rule = { rule: gptqRule(options), bits, scaleDtype };
  const grid = gridOf(panel, group, rule);
  roundPanel(panel, group, bits, grid, codes);
  const errors = new Float64Array(values.length);
  const before = squaredNorm(errorsOf(panel, codes, grid, group, errors), rows, factor, kernels);

  // From here on columns lie in the order of the factor.
  const swept: Panel = { values: order ? inOrder(values, columns, order) : values.slice(), rows, columns };
  const isStatic = staticGroups || group >= columns;
  const groups = order && !isStatic ? groupsOf(order, group) : group;
  const step = isStatic ? WIDE : group;
  // Small groups have in common what all columns before them cause.
  const together = step * Math.ceil(WIDE / step);
  for (let first = 0; first < columns; first += together) {
    const last = Math.min(first + together, columns);
    takeErrors(swept, first, last, 0, first, factor, kernels);
    for (let start = first; start < last; start += step) {
      const end = Math.min(start + step, last);
      takeErrors(swept, start, end, first, start, factor, kernels);
      if (!isStatic) setGroupGrid(swept, start, end, rule, grid, start / group);
      for (let from = start; from < end; from += WIDE) {
        const to = Math.min(from + WIDE, end);
        takeErrors(swept, from, to, start, from, factor, kernels);
        sweepBlock(swept, from, to, factor, bits, grid, groups, codes, kernels);
      }
    }
  }
  const own = sumOfSquares(errorsOf(panel, codes, grid, groups, errors));
  return { grid, before, after: undamped(sumOfSquares(swept.values), own, factor) };
}
