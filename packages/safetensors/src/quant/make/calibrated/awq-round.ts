import type { FloatDtype } from "../../../dtype/cast.ts";
import type { GroupedCodes } from "../grouped-codes.ts";
import type { IntegerGrid } from "../integer-rules.ts";
import { codeOf } from "../kernels/nearest.ts";
import { awqRule, type CodeFormat, groupSize } from "./grid.ts";
import { emptyGrid, gridOf, type Panel, type PanelRule, placeGrid, roundPanel } from "./grid-panel.ts";
import { checkWeight, PANEL_ROWS } from "./weight-rows.ts";

/** How a weight is rounded with AWQ. */
export interface AwqRounding extends CodeFormat {
  /** What the scales will be stored as. F32 unless given. */
  readonly scaleDtype?: FloatDtype | undefined;
}

/**
 * Rounds a weight whose inputs are scaled: the codes are for `W * scale`, each group cut to its limit first.
 *
 * @param weight `[N, K]` as it is, not scaled; it is not changed
 * @param scale `[K]`, what `awqScales` found
 * @param limits `[N, G]`, what `awqLimits` found for the scaled weight; nothing is cut if not given
 * @throws `SIZE_MISMATCH`, `UNSUPPORTED` as `solveRows`
 */
export function awqCodes(
  weight: Float32Array,
  scale: Float32Array,
  options: AwqRounding,
  limits?: Float32Array,
): GroupedCodes {
  const columns = scale.length;
  const rows = checkWeight(weight, columns);
  const group = groupSize(options, columns);
  const groups = Math.ceil(columns / group);
  const codes = new Uint8Array(weight.length);
  const grid = emptyGrid(groups, rows);
  for (let from = 0; from < rows; from += PANEL_ROWS) {
    const count = Math.min(PANEL_ROWS, rows - from);
    const panel = scaledPanel(weight.subarray(from * columns, (from + count) * columns), count, scale);
    if (limits) cutPanel(panel, group, limits.subarray(from * groups, (from + count) * groups));
    const own = gridOf(panel, group, panelRule(options));
    roundPanel(panel, group, options.bits, own, codes.subarray(from * columns));
    placeGrid(own, count, grid, rows, from);
  }
  return { shape: [rows, columns], bits: options.bits, codes, ...grid, groups: group };
}

/** How a panel's scales and zero points are chosen. */
export function panelRule(options: AwqRounding): PanelRule {
  const { bits, scaleDtype = "F32" } = options;
  return { rule: awqRule(options), bits, scaleDtype };
}

/** Rows of a weight, each input multiplied by its scale. */
export function scaledPanel(weight: Float32Array, rows: number, scale: Float32Array): Panel {
  const columns = scale.length;
  const values = Float64Array.from(weight);
  for (let at = 0; at < values.length; at++) values[at]! *= scale[at % columns]!;
  return { values, rows, columns };
}

function cutPanel({ values, rows, columns }: Panel, size: number, limits: Float32Array): void {
  const groups = Math.ceil(columns / size);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const limit = limits[row * groups + Math.floor(column / size)]!;
      const at = row * columns + column;
      values[at] = Math.min(Math.max(values[at]!, -limit), limit);
    }
  }
}

/** The nearest value that a grid has. */
export function onGrid(value: number, { scales, zeros }: IntegerGrid, at: number, top: number): number {
  const scale = scales[at]!;
  const zero = zeros[at]!;
  return (codeOf(value, scale, zero, top) - zero) * scale;
}
