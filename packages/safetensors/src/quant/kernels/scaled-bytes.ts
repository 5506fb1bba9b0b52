import type { ScaledBytesCall } from "./call.ts";

/** Codes of a byte each, by a table and with a scale for each block. The call is checked already. */
export function runScaledBytes(call: ScaledBytesCall, out: Float32Array): void {
  const { rows, columns, codes, table, scales, blockRows, blockColumns, zeros } = call;
  const rowBlocks = Math.ceil(columns / blockColumns);
  for (let row = 0; row < rows; row++) {
    let block = Math.floor(row / blockRows) * rowBlocks;
    for (let left = 0; left < columns; left += blockColumns, block++) {
      const end = row * columns + Math.min(columns, left + blockColumns);
      const scale = scales[block]!;
      if (zeros) {
        const zero = zeros[block]!;
        for (let i = row * columns + left; i < end; i++)
          out[i] = Math.fround(table[codes[i]!]! - zero) * scale;
      } else {
        for (let i = row * columns + left; i < end; i++) out[i] = table[codes[i]!]! * scale;
      }
    }
  }
}
