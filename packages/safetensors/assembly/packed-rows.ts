import { interleaved, interleavedEnd, LOWER_HALVES, storeDifferences, storeSums } from "./lanes";

// Codes behind one another, groups of which share a scale: `(q - z) * s`, or with biases `q * s + b`.

/**
 * So many groups of 4-bit codes, each of a multiple of 32. `zeroStep` is 0 where all groups share one zero; `biases` is 0
 * where there are none.
 */
export function packed4(
  words: usize,
  scales: usize,
  zeros: usize,
  zeroStep: usize,
  biases: usize,
  out: usize,
  groups: usize,
  group: usize,
): void {
  const lowerHalves = v128.load(LOWER_HALVES);
  for (const end = scales + groups * 4; scales < end; scales += 4, zeros += zeroStep) {
    const s = v128.load32_splat(scales);
    const last = words + group / 2;
    if (biases) {
      const b = v128.load32_splat(biases);
      for (; words < last; words += 16, out += 128) {
        const pairs = v128.load(words);
        const lower = v128.and(pairs, lowerHalves);
        const upper = v128.and(i16x8.shr_u(pairs, 4), lowerHalves);
        storeSums(out, interleaved(lower, upper), s, b);
        storeSums(out + 64, interleavedEnd(lower, upper), s, b);
      }
      biases += 4;
    } else {
      const z = v128.load32_splat(zeros);
      for (; words < last; words += 16, out += 128) {
        const pairs = v128.load(words);
        const lower = v128.and(pairs, lowerHalves);
        const upper = v128.and(i16x8.shr_u(pairs, 4), lowerHalves);
        storeDifferences(out, interleaved(lower, upper), z, s);
        storeDifferences(out + 64, interleavedEnd(lower, upper), z, s);
      }
    }
  }
}

/** The same for codes of 8 bits; a group is a multiple of 16. */
export function packed8(
  words: usize,
  scales: usize,
  zeros: usize,
  zeroStep: usize,
  biases: usize,
  out: usize,
  groups: usize,
  group: usize,
): void {
  for (const end = scales + groups * 4; scales < end; scales += 4, zeros += zeroStep) {
    const s = v128.load32_splat(scales);
    const last = words + group;
    if (biases) {
      const b = v128.load32_splat(biases);
      for (; words < last; words += 16, out += 64) storeSums(out, v128.load(words), s, b);
      biases += 4;
    } else {
      const z = v128.load32_splat(zeros);
      for (; words < last; words += 16, out += 64) storeDifferences(out, v128.load(words), z, s);
    }
  }
}
