// Constants and orders of bytes that several kernels need.

/** All bits of floats but their signs. */
export const MAGNITUDE = memory.data<u32>([0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff]);
export const INFINITY = memory.data<u32>([0x7f800000, 0x7f800000, 0x7f800000, 0x7f800000]);
/** The lower half of each byte. */
export const LOWER_HALVES = memory.data<u64>([0x0f0f0f0f0f0f0f0f, 0x0f0f0f0f0f0f0f0f]);

/** Bytes of the first halves in turn. */
// @ts-ignore: decorator
@inline
export function interleaved(a: v128, b: v128): v128 {
  return v128.shuffle<u8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

/** Bytes of the second halves in turn. */
// @ts-ignore: decorator
@inline
export function interleavedEnd(a: v128, b: v128): v128 {
  return v128.shuffle<u8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** Words of 16 bits of the first halves in turn. */
// @ts-ignore: decorator
@inline
export function interleaved16(a: v128, b: v128): v128 {
  return v128.shuffle<u16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}

/** Words of 16 bits of the second halves in turn. */
// @ts-ignore: decorator
@inline
export function interleavedEnd16(a: v128, b: v128): v128 {
  return v128.shuffle<u16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

/** 16 codes, a byte each, as floats: `(q - z) * s`. */
// @ts-ignore: decorator
@inline
export function storeDifferences(out: usize, codes: v128, z: v128, s: v128): void {
  const first = i16x8.extend_low_i8x16_u(codes);
  const second = i16x8.extend_high_i8x16_u(codes);
  v128.store(out, f32x4.mul(f32x4.sub(floatsOfFirst(first), z), s));
  v128.store(out, f32x4.mul(f32x4.sub(floatsOfLast(first), z), s), 16);
  v128.store(out, f32x4.mul(f32x4.sub(floatsOfFirst(second), z), s), 32);
  v128.store(out, f32x4.mul(f32x4.sub(floatsOfLast(second), z), s), 48);
}

/** 16 codes, a byte each, as floats: `q * s + b`, rounded twice. */
// @ts-ignore: decorator
@inline
export function storeSums(out: usize, codes: v128, s: v128, b: v128): void {
  const first = i16x8.extend_low_i8x16_u(codes);
  const second = i16x8.extend_high_i8x16_u(codes);
  v128.store(out, f32x4.add(f32x4.mul(floatsOfFirst(first), s), b));
  v128.store(out, f32x4.add(f32x4.mul(floatsOfLast(first), s), b), 16);
  v128.store(out, f32x4.add(f32x4.mul(floatsOfFirst(second), s), b), 32);
  v128.store(out, f32x4.add(f32x4.mul(floatsOfLast(second), s), b), 48);
}

// @ts-ignore: decorator
@inline
function floatsOfFirst(codes: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_u(codes));
}

// @ts-ignore: decorator
@inline
function floatsOfLast(codes: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_u(codes));
}
