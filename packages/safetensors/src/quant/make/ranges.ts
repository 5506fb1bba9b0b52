/** The least and the greatest value of each group. */
export interface Ranges {
  /** `[G, N]` */
  readonly min: Float32Array;
  /** `[G, N]` */
  readonly max: Float32Array;
}

/** Ranges of groups of `group` neighbours in each row of `[rows, columns]`, which is a whole number of them. */
export function rangesOf(values: Float32Array, rows: number, columns: number, group: number): Ranges {
  const count = columns / group;
  const min = new Float32Array(count * rows);
  const max = new Float32Array(count * rows);
  for (let row = 0, at = 0; row < rows; row++) {
    for (let g = 0; g < count; g++) {
      let low = values[at]!;
      let high = low;
      for (const end = at + group; at < end; at++) {
        const value = values[at]!;
        if (value < low) low = value;
        if (value > high) high = value;
      }
      min[g * rows + row] = low;
      max[g * rows + row] = high;
    }
  }
  return { min, max };
}

/** The largest magnitude among values from `start` to `end`. */
export function largest(values: Float32Array, start = 0, end: number = values.length): number {
  let amax = 0;
  for (let i = start; i < end; i++) {
    const magnitude = Math.abs(values[i]!);
    if (magnitude > amax) amax = magnitude;
  }
  return amax;
}

/** The integer nearest to a float32 below 2^51, ties to even. */
export function nearestInteger(value: number): number {
  // The unit of doubles from here on is 1, so that the sum is rounded as it should be.
  return value + 0x18000000000000 - 0x18000000000000;
}
