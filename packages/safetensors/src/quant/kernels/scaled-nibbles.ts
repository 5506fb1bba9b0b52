import type { ScaledNibblesCall } from "./call.ts";

/** Codes of half a byte each, by a table and with a scale for each block of a row. The call is checked already. */
export function runScaledNibbles(call: ScaledNibblesCall, out: Float32Array): void {
  const { rows, columns, codes, highFirst, table, scales, block } = call;
  const rowBlocks = Math.ceil(columns / block);
  // How far the code of an even column lies from the lowest bit; that of an odd one in the other half.
  const even = highFirst ? 4 : 0;
  for (let row = 0; row < rows; row++) {
    const start = row * columns;
    for (let left = 0, at = row * rowBlocks; left < columns; left += block, at++) {
      const end = Math.min(columns, left + block);
      const scale = scales[at]!;
      for (let column = left; column < end; column++) {
        const shift = column % 2 === 0 ? even : 4 - even;
        const code = (codes[(start + column) >>> 1]! >>> shift) & 15;
        out[start + column] = table[code]! * scale;
      }
    }
  }
}
