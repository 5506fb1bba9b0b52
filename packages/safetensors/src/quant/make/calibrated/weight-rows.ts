import { SafetensorsError } from "../../../errors.ts";
import { areFinite } from "../kernels/runs.ts";

/** Rows that are worked on together: in 64-bit floats they take a megabyte for each 1024 inputs. */
export const PANEL_ROWS = 128;

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
  if (areFinite(weight)) return rows;
  const at = weight.findIndex((value) => !Number.isFinite(value));
  const place = `[${Math.floor(at / columns)}, ${at % columns}]`;
  const text = `element ${place} of the weight is ${weight[at]}: it has no code`;
  throw new SafetensorsError("UNSUPPORTED", text);
}
