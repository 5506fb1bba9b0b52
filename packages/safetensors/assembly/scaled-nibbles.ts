import { interleaved, interleaved16, interleavedEnd, interleavedEnd16, LOWER_HALVES } from "./lanes";

// Codes of half a byte each, looked up in a table of any 16 floats, times a scale for each block.

/**
 * So many blocks behind one another, each of a multiple of 16 codes. The table is in planes: the first bytes of all 16 floats,
 * then the second ...
 */
export function scaledNibbles(
  codes: usize,
  highFirst: bool,
  planes: usize,
  scales: usize,
  out: usize,
  blocks: usize,
  block: usize,
): void {
  const lowerHalves = v128.load(LOWER_HALVES);
  const plane0 = v128.load(planes);
  const plane1 = v128.load(planes, 16);
  const plane2 = v128.load(planes, 32);
  const plane3 = v128.load(planes, 48);
  for (const end = scales + blocks * 4; scales < end; scales += 4) {
    const s = v128.load32_splat(scales);
    for (const last = codes + block / 2; codes < last; codes += 8, out += 64) {
      const pairs = v128.load64_zero(codes);
      const lower = v128.and(pairs, lowerHalves);
      const upper = v128.and(i16x8.shr_u(pairs, 4), lowerHalves);
      const code = highFirst ? interleaved(upper, lower) : interleaved(lower, upper);
      const byte0 = i8x16.swizzle(plane0, code);
      const byte1 = i8x16.swizzle(plane1, code);
      const byte2 = i8x16.swizzle(plane2, code);
      const byte3 = i8x16.swizzle(plane3, code);
      const low = interleaved(byte0, byte1);
      const high = interleaved(byte2, byte3);
      v128.store(out, f32x4.mul(interleaved16(low, high), s));
      v128.store(out, f32x4.mul(interleavedEnd16(low, high), s), 16);
      const lowEnd = interleavedEnd(byte0, byte1);
      const highEnd = interleavedEnd(byte2, byte3);
      v128.store(out, f32x4.mul(interleaved16(lowEnd, highEnd), s), 32);
      v128.store(out, f32x4.mul(interleavedEnd16(lowEnd, highEnd), s), 48);
    }
  }
}
