import type { PackedRowsCall } from "./call.ts";
import { wordsPerRow } from "./check.ts";
import { unpackCodes } from "./codes.ts";
import { groupOfColumns } from "./groups.ts";

/** Codes that lie row by row. The call is checked already. */
export function runPackedRows(call: PackedRowsCall, out: Float32Array): void {
  const { rows, columns, bits, words, perWord, scales, zeros, biases } = call;
  const groups = groupOfColumns(call.groups, columns);
  const rowGroups = scales.length / rows;
  const rowWords = wordsPerRow(columns, bits, perWord);
  const full = perWord === undefined ? 32 : perWord * bits;
  const codes = new Uint8Array(columns);
  const rowZeros = new Float32Array(rowGroups);
  if (typeof zeros === "number") rowZeros.fill(zeros);
  const fillRow = (row: number): void => {
    unpackCodes(words, row * rowWords, 1, bits, full, codes);
    const start = row * columns;
    const first = row * rowGroups;
    if (biases) {
      for (let column = 0; column < columns; column++) {
        const scale = first + groups[column]!;
        out[start + column] = Math.fround(codes[column]! * scales[scale]!) + biases[scale]!;
      }
      return;
    }
    if (typeof zeros !== "number") rowZeros.set(zeros.subarray(first, first + rowGroups));
    for (let column = 0; column < columns; column++) {
      const group = groups[column]!;
      out[start + column] = Math.fround(codes[column]! - rowZeros[group]!) * scales[first + group]!;
    }
  };
  for (let row = 0; row < rows; row++) fillRow(row);
}
