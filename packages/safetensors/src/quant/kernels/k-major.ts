import type { KMajorCall } from "./call.ts";
import { unpackCodes } from "./codes.ts";
import { groupOfColumns } from "./groups.ts";

/** Columns and rows of a tile: its part of the words stays in the first cache. 32 codes of any bits are whole words. */
const TILE_COLUMNS = 32;
const TILE_ROWS = 64;

/** Codes that lie column by column, written in tiles, row by row. The call is checked already. */
export function runKMajor(call: KMajorCall, out: Float32Array): void {
  const { rows, columns, bits, words, scales, zeros } = call;
  const groups = groupOfColumns(call.groups, columns);
  const fillRow = (row: number, left: number, codes: Uint8Array): void => {
    unpackCodes(words, (left / 32) * bits * rows + row, rows, bits, 32, codes);
    const start = row * columns + left;
    for (let i = 0; i < codes.length; i++) {
      const scale = groups[left + i]! * rows + row;
      out[start + i] = (codes[i]! - zeros[scale]!) * scales[scale]!;
    }
  };
  for (let left = 0; left < columns; left += TILE_COLUMNS) {
    const codes = new Uint8Array(Math.min(TILE_COLUMNS, columns - left));
    for (let top = 0; top < rows; top += TILE_ROWS) {
      const bottom = Math.min(rows, top + TILE_ROWS);
      for (let row = top; row < bottom; row++) fillRow(row, left, codes);
    }
  }
}
