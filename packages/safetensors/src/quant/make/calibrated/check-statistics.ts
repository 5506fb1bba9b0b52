import { quote, SafetensorsError } from "../../../errors.ts";
import type { InputStatistics } from "./statistics.ts";

/** How far numbers may be off that were summed in 32 bits. */
const TOLERANCE = 1e-2;
/** Squares below this may have become zero in 32 bits. */
const TINY = 1e-36;
/** Rows and columns that are compared with their mirror together, to stay in the cache. */
const TILE = 64;

/**
 * Checks that numbers can be the statistics of some inputs: finite; the matrix symmetric, nothing negative on its diagonal,
 * and nothing larger than its diagonal allows; and magnitudes that agree with it.
 *
 * @throws `INVALID_TENSOR`
 */
export function checkStatistics(module: string, { count, xtx, absMean, absMax }: InputStatistics): void {
  const problem = (role: string, text: string): SafetensorsError => {
    const tensor = `${module}.${role}`;
    return new SafetensorsError("INVALID_TENSOR", `${quote(tensor)}: ${text}`, { tensor });
  };
  if (!(count > 0 && Number.isSafeInteger(count)))
    throw problem("count", `${count} tokens, expected a positive number`);
  const columns = absMean.length;
  for (let input = 0; input < columns; input++) {
    const square = xtx[input * columns + input]!;
    const mean = absMean[input]!;
    const largest = absMax[input]!;
    if (!(square >= 0 && square < Number.POSITIVE_INFINITY))
      throw problem("xtx", `${square} on the diagonal at ${input}, expected a sum of squares`);
    if (!(mean >= 0 && mean <= largest * (1 + TOLERANCE)))
      throw problem("absmean", `${mean} at ${input}, expected a magnitude up to the largest, ${largest}`);
    if (!(largest ** 2 <= square * (1 + TOLERANCE) + TINY))
      throw problem(
        "absmax",
        `${largest} at ${input}, and its square is more than the sum of all, ${square}`,
      );
    if (!(mean ** 2 * count <= square * (1 + TOLERANCE) + TINY)) {
      const text = `${square} on the diagonal at ${input}, too small for ${count} tokens with a mean magnitude of ${mean}`;
      throw problem("xtx", `${text}: it has to be the sum over all tokens`);
    }
  }
  for (let top = 0; top < columns; top += TILE) {
    for (let left = 0; left <= top; left += TILE) {
      const bad = asymmetry(xtx, columns, top, left);
      if (!bad) continue;
      const [row, column] = bad;
      const values = `${xtx[row * columns + column]} at [${row}, ${column}] and ${xtx[column * columns + row]} at [${column}, ${row}]`;
      throw problem("xtx", `${values}, expected the same, and no more than the diagonal allows`);
    }
  }
}

/** An element of a tile that differs from its mirror, or is larger than its inputs' squares allow. */
function asymmetry(
  xtx: Float32Array,
  columns: number,
  top: number,
  left: number,
): readonly [row: number, column: number] | undefined {
  for (let row = top; row < Math.min(top + TILE, columns); row++) {
    for (let column = left; column < Math.min(left + TILE, row); column++) {
      const value = xtx[row * columns + column]!;
      const bound = Math.sqrt(xtx[row * columns + row]! * xtx[column * columns + column]!);
      const difference = Math.abs(value - xtx[column * columns + row]!);
      if (!(Math.abs(value) <= bound * (1 + TOLERANCE) + TINY && difference <= bound * TOLERANCE + TINY))
        return [row, column];
    }
  }
  return undefined;
}
