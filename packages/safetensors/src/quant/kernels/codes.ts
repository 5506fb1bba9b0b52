/**
 * Unpacks codes of a stream of bits, the lowest first.
 *
 * @param at index of the first word; the next ones follow `stride` apart
 * @param full bits in use of each word: where a code goes over into the next, all 32
 * @param codes filled
 */
export function unpackCodes(
  words: Uint32Array,
  at: number,
  stride: number,
  bits: number,
  full: number,
  codes: Uint8Array,
): void {
  const mask = (1 << bits) - 1;
  let shift = 0;
  for (let i = 0; i < codes.length; i++) {
    let code = words[at]! >>> shift;
    shift += bits;
    if (shift >= full) {
      shift -= full;
      at += stride;
      if (shift > 0) code |= words[at]! << (bits - shift);
    }
    codes[i] = code & mask;
  }
}
