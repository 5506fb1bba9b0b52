/** The integer nearest to a number, ties to even; from 2^51 on, where only its size matters to codes, one close to it. */
export function nearestInteger(value: number): number {
  // The unit of doubles from here on is 1, so that the sum is rounded as it should be.
  return value + 0x18000000000000 - 0x18000000000000;
}

/** The code for a value: the nearest, ties to even. A scale of zero has only one value. */
export function codeOf(value: number, scale: number, zero: number, top: number): number {
  const code = scale === 0 ? zero : nearestInteger(value / scale) + zero;
  return Math.min(Math.max(code, 0), top);
}
