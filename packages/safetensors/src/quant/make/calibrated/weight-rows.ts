import { SafetensorsError } from "../../../errors.ts";

/** Rows that are worked on together: in 64-bit floats they take half a megabyte for each 1024 inputs. */
export const PANEL_ROWS = 64;

/**
 * The number of rows of a weight.
 *
 * @throws `SIZE_MISMATCH` if it is no whole rows, `UNSUPPORTED` for a NaN or an infinity
 */
export function checkWeight(weight: Float32Array, columns: number): number {
  const rows = columns === 0 ? 0 : weight.length / columns;
  if (!Number.isInteger(rows) || rows * columns !== weight.length) {
    const text = `a weight of ${weight.length} elements is no whole rows of ${columns} inputs`;
    throw new SafetensorsError("SIZE_MISMATCH", text);
  }
  for (let at = 0; at < weight.length; at++) {
    if (Number.isFinite(weight[at])) continue;
    const place = `[${Math.floor(at / columns)}, ${at % columns}]`;
    throw new SafetensorsError(
      "UNSUPPORTED",
      `element ${place} of the weight is ${weight[at]}: it has no code`,
    );
  }
  return rows;
}
