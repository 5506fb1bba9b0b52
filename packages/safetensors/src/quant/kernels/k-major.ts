import type { KMajorCall } from "./call.ts";
import { groupOfColumns } from "./groups.ts";

/** Columns and rows of a tile: its part of the words stays in the first cache. 32 codes of any bits are whole words. */
const TILE_COLUMNS = 32;
const TILE_ROWS = 64;

/** Codes that lie column by column, written in tiles, row by row. The call is checked already. */
export function runKMajor(call: KMajorCall, out: Float32Array): void {
  const { rows, columns, bits, words, scales, zeros } = call;
  const groups = groupOfColumns(call.groups, columns);
  const mask = 2 ** bits - 1;
  for (let left = 0; left < columns; left += TILE_COLUMNS) {
    const right = Math.min(columns, left + TILE_COLUMNS);
    for (let top = 0; top < rows; top += TILE_ROWS) {
      const bottom = Math.min(rows, top + TILE_ROWS);
      for (let row = top; row < bottom; row++) {
        let at = (left / 32) * bits * rows + row;
        let shift = 0;
        for (let column = left; column < right; column++) {
          let code = words[at]! >>> shift;
          shift += bits;
          if (shift >= 32) {
            shift -= 32;
            at += rows;
            if (shift > 0) code |= words[at]! << (bits - shift);
          }
          const scale = groups[column]! * rows + row;
          out[row * columns + column] = ((code & mask) - zeros[scale]!) * scales[scale]!;
        }
      }
    }
  }
}
