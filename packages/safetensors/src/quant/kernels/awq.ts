import type { AwqCall } from "./call.ts";
import { groupOfColumns } from "./groups.ts";

/** Columns and words of a tile: its words stay in the first cache. */
const TILE_COLUMNS = 32;
const TILE_WORDS = 16;

/** How far the code of each output of a word lies from the lowest bit. */
const SHIFTS = [0, 16, 4, 20, 8, 24, 12, 28] as const;

/** Codes that lie column by column, eight outputs in a word, written in tiles. The call is checked already. */
export function runAwq(call: AwqCall, out: Float32Array): void {
  const { rows, columns, words, scales, zeros } = call;
  const groups = groupOfColumns(call.group, columns);
  const rowWords = rows / 8;
  const fillRow = (row: number, left: number, right: number): void => {
    const shift = SHIFTS[row % 8]!;
    const start = row * columns;
    for (let column = left, at = left * rowWords + (row >>> 3); column < right; column++, at += rowWords) {
      const scale = groups[column]! * rows + row;
      out[start + column] = (((words[at]! >>> shift) & 15) - zeros[scale]!) * scales[scale]!;
    }
  };
  for (let left = 0; left < columns; left += TILE_COLUMNS) {
    const right = Math.min(columns, left + TILE_COLUMNS);
    for (let first = 0; first < rowWords; first += TILE_WORDS) {
      const bottom = Math.min(rows, (first + TILE_WORDS) * 8);
      for (let row = first * 8; row < bottom; row++) fillRow(row, left, right);
    }
  }
}
