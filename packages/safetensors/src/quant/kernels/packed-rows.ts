import type { PackedRowsCall } from "./call.ts";
import { wordsPerRow } from "./check.ts";
import { groupOfColumns } from "./groups.ts";

/** Codes that lie row by row. The call is checked already. */
export function runPackedRows(call: PackedRowsCall, out: Float32Array): void {
  const { rows, columns, bits, words, perWord, scales, zeros, biases } = call;
  const groups = groupOfColumns(call.groups, columns);
  const rowGroups = scales.length / rows;
  const rowWords = wordsPerRow(columns, bits, perWord);
  // Bits of a word in use.
  const full = perWord === undefined ? 32 : perWord * bits;
  const mask = 2 ** bits - 1;
  for (let row = 0; row < rows; row++) {
    let at = row * rowWords;
    let shift = 0;
    for (let column = 0; column < columns; column++) {
      let code = words[at]! >>> shift;
      shift += bits;
      if (shift >= full) {
        shift -= full;
        at++;
        if (shift > 0) code |= words[at]! << (bits - shift);
      }
      code &= mask;
      const scale = row * rowGroups + groups[column]!;
      if (biases) {
        out[row * columns + column] = Math.fround(code * scales[scale]!) + biases[scale]!;
      } else {
        const zero = typeof zeros === "number" ? Math.fround(zeros) : zeros[scale]!;
        out[row * columns + column] = Math.fround(code - zero) * scales[scale]!;
      }
    }
  }
}
