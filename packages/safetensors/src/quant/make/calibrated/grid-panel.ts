import type { FloatDtype } from "../../../dtype/cast.ts";
import { roundedTo } from "../grouped-codes.ts";
import type { IntegerGrid, IntegerRule } from "../integer-rules.ts";
import { codeOf } from "../kernels/nearest.ts";

/** Rows of a weight that are worked on together, in 64-bit floats. */
export interface Panel {
  /** `[rows, columns]` */
  readonly values: Float64Array;
  readonly rows: number;
  readonly columns: number;
}

/** How the scales and zero points of a panel are chosen. */
export interface PanelRule {
  readonly rule: IntegerRule;
  readonly bits: number;
  /** What the scales will be stored as. */
  readonly scaleDtype: FloatDtype;
}

/** Scales and zero points for some groups of some rows, to be set. */
export function emptyGrid(groups: number, rows: number): IntegerGrid {
  return { scales: new Float32Array(groups * rows), zeros: new Uint8Array(groups * rows) };
}

/** Sets the grid of one group from the columns `from` to `to` of a panel. */
export function setGroupGrid(
  { values, rows, columns }: Panel,
  from: number,
  to: number,
  { rule, bits, scaleDtype }: PanelRule,
  grid: IntegerGrid,
  group: number,
): void {
  const min = new Float32Array(rows);
  const max = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    let low = Number.POSITIVE_INFINITY;
    let high = Number.NEGATIVE_INFINITY;
    for (let at = row * columns + from; at < row * columns + to; at++) {
      const value = values[at]!;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    min[row] = low;
    max[row] = high;
  }
  const { scales, zeros } = rule({ min, max }, bits, scaleDtype);
  grid.scales.set(roundedTo(scaleDtype, scales), group * rows);
  grid.zeros.set(zeros, group * rows);
}

/** The grid of all groups of neighbours. */
export function gridOf(panel: Panel, size: number, rule: PanelRule): IntegerGrid {
  const grid = emptyGrid(Math.ceil(panel.columns / size), panel.rows);
  for (let from = 0, group = 0; from < panel.columns; from += size, group++)
    setGroupGrid(panel, from, Math.min(from + size, panel.columns), rule, grid, group);
  return grid;
}

/** Places the grid of `count` rows, from row `from` on, in that of all. */
export function placeGrid(
  part: IntegerGrid,
  count: number,
  whole: IntegerGrid,
  rows: number,
  from: number,
): void {
  for (let group = 0; group * rows < whole.scales.length; group++) {
    const at = group * rows + from;
    whole.scales.set(part.scales.subarray(group * count, (group + 1) * count), at);
    whole.zeros.set(part.zeros.subarray(group * count, (group + 1) * count), at);
  }
}

/** The codes of all values of a panel, each by itself, in groups of neighbours (RTN). */
export function roundPanel(
  { values, rows, columns }: Panel,
  size: number,
  bits: number,
  { scales, zeros }: IntegerGrid,
  codes: Uint8Array,
): void {
  const top = 2 ** bits - 1;
  for (let row = 0; row < rows; row++) {
    for (let from = 0, grid = row; from < columns; from += size, grid += rows) {
      const scale = scales[grid]!;
      const zero = zeros[grid]!;
      const end = row * columns + Math.min(from + size, columns);
      for (let at = row * columns + from; at < end; at++) codes[at] = codeOf(values[at]!, scale, zero, top);
    }
  }
}
