import { elementCount } from "../../dtype/dtype.ts";
import type { AxisLink } from "../weight.ts";
import { along } from "./pieces.ts";

/** Which elements of a weight share a scale. */
export interface ScaleGrid {
  /** Rows and columns of a block. The last one may be cut short by the end of the matrix. */
  readonly block: readonly [rows: number, columns: number];
  /** Whether each matrix of a stack has scales of its own. */
  readonly isPerMatrix: boolean;
  /** For each axis of the scales, the axis of the weight that it follows. */
  readonly links: readonly (AxisLink | null)[];
}

/** Rows and columns of a block. */
export type Block = readonly [rows: number, columns: number];

/** What is known of the scales beside their shape. */
export interface GridOptions {
  /** Of the configuration; unless given, blocks of 128 by 128 are tried, and such as divide the weight by powers of two. */
  readonly block?: Block | undefined;
  /** Whether the scales of stacked matrices may follow the columns, as those of the experts of Llama 4 do. */
  readonly mayFollowColumns?: boolean;
}

const USUAL: Block = [128, 128];

/**
 * How scales of one shape belong to a weight of another, `[out, in]` or `[experts, out, in]`: one for all, one for each
 * row, one for each block.
 *
 * @returns the grid, or why there is none, in a few words
 */
export function scaleGrid(
  weight: readonly number[],
  scale: readonly number[],
  { block, mayFollowColumns = false }: GridOptions = {},
): ScaleGrid | string {
  const rank = weight.length;
  const [rows, columns] = [weight.at(-2) ?? 1, weight.at(-1) ?? 1];
  const none = scale.map(() => null);
  if (elementCount(scale) === 1) return { block: [rows, columns], isPerMatrix: false, links: none };
  if (rank !== 2 && rank !== 3) return `only one scale for all is known for a weight of shape [${weight}]`;

  const first = rank === 3 ? [along(0)] : [];
  const grid = (size: Block, ...links: (AxisLink | null)[]): ScaleGrid => ({
    block: size,
    isPerMatrix: true,
    links: [...first, ...links],
  });
  if (scale.length === 1) {
    if (rank === 3 && scale[0] === weight[0]) return grid([rows, columns]);
    if (rank === 2 && scale[0] === rows) return grid([1, columns], along(0));
  }
  if (scale.length === rank && (rank === 2 || scale[0] === weight[0])) {
    const [down, across] = [scale.at(-2)!, scale.at(-1)!];
    const [row, column] = [rank - 2, rank - 1];
    const isGrid = ([height, width]: Block): boolean =>
      down === Math.ceil(rows / height) && across === Math.ceil(columns / width);
    const blocks = (size: Block): ScaleGrid => grid(size, along(row, size[0]), along(column, size[1]));
    if (down === 1 && across === 1) return grid([rows, columns], null, null);
    if (block && isGrid(block)) return blocks(block);
    const isOfRows = across === 1 && down === rows;
    const isOfColumns = across === 1 && down === columns && mayFollowColumns && rank === 3;
    if (isOfRows && isOfColumns)
      return "they may be of the rows or of the columns, of which there are as many";
    if (isOfRows) return grid([1, columns], along(row), null);
    if (isOfColumns) return grid([rows, 1], along(column), null);
    if (mayFollowColumns && down === 1 && across === columns) return grid([rows, 1], null, along(column));
    if (!block && isGrid(USUAL)) return blocks(USUAL);
    const size: Block = [rows / down, columns / across];
    if (!block && size.every(isPowerOfTwo)) return blocks(size);
  }
  const [height, width] = block ?? USUAL;
  const expected = [...weight.slice(0, -2), Math.ceil(rows / height), Math.ceil(columns / width)];
  return `expected [1], one for each of the ${rows} rows, or [${expected}] for blocks of ${height} by ${width}`;
}

function isPowerOfTwo(size: number): boolean {
  return Number.isInteger(Math.log2(size)) && size >= 1;
}
