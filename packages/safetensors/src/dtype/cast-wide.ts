/**
 * Casts whose result has 16 bits and more, in one loop over words each. A NaN becomes the quiet one of its sign, so that
 * every engine makes the same bytes; a conversion of numbers may give any.
 */

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

const wordsOf = (array: Float32Array | Float64Array): Uint32Array =>
  new Uint32Array(array.buffer, array.byteOffset, array.byteLength / 4);

/** Exact. */
export function toFloat64(floats: Float32Array): Float64Array {
  const doubles = new Float64Array(floats.length);
  const [from, to] = [wordsOf(floats), wordsOf(doubles)];
  for (let i = 0; i < floats.length; i++) {
    const value = floats[i]!;
    doubles[i] = value;
    if (Number.isNaN(value)) {
      to[2 * i] = 0;
      to[2 * i + 1] = (from[i]! & 0x80000000) | 0x7ff80000;
    }
  }
  return doubles;
}

/** To nearest, ties to even. */
export function toNearestFloat32(doubles: Float64Array): Float32Array {
  const floats = new Float32Array(doubles.length);
  const [from, to] = [wordsOf(doubles), wordsOf(floats)];
  for (let i = 0; i < doubles.length; i++) {
    const value = doubles[i]!;
    floats[i] = value;
    if (Number.isNaN(value)) to[i] = (from[2 * i + 1]! & 0x80000000) | 0x7fc00000;
  }
  return floats;
}

/**
 * To odd: what is no float32 becomes the one of its two neighbours whose last bit is set. Rounding that again, to less
 * precision by two bits or more, gives what rounding the double once gives.
 *
 * Source: Boldo and Melquiond, "When double rounding is odd" (2005).
 */
export function toOddFloat32(doubles: Float64Array): Float32Array {
  const floats = toNearestFloat32(doubles);
  const bits = wordsOf(floats);
  for (let i = 0; i < doubles.length; i++) {
    const value = doubles[i]!;
    const near = floats[i]!;
    if (near === value || Number.isNaN(value)) continue;
    bits[i] = (bits[i]! - (Math.abs(near) > Math.abs(value) ? 1 : 0)) | 1;
  }
  return floats;
}

/** Rounds the upper half by the lower one; a carry into the exponent is right, up to infinity. */
export function toBfloat16(floats: Float32Array): Uint16Array {
  const bits = wordsOf(floats);
  const codes = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!;
    codes[i] =
      (word & 0x7fffffff) > 0x7f800000
        ? ((word >>> 16) & 0x8000) | 0x7fc0
        : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return codes;
}

/** To nearest, ties to even. */
export function toFloat16(floats: Float32Array): Uint16Array {
  const bits = wordsOf(floats);
  const codes = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!;
    codes[i] = ((word >>> 16) & 0x8000) | float16Of(word & 0x7fffffff);
  }
  return codes;
}

function float16Of(magnitude: number): number {
  if (magnitude >= 0x47800000) return magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;
  // Normal: the exponent's bias changes from 127 to 15, and 13 bits of the mantissa go.
  if (magnitude >= 0x38800000) return (magnitude + 0xfff + ((magnitude >>> 13) & 1) - 0x38000000) >>> 13;
  // Subnormal: the unit is 2^-24, that of floats next to 1/2, so that adding a half rounds to it.
  scratchBits[0] = magnitude;
  scratch[0]! += 0.5;
  return scratchBits[0]! - 0x3f000000;
}

/** Makes infinities, in place, the largest finite values: the codes before them. */
export function saturateCodes(codes: Uint16Array | Uint32Array, infinity: number): void {
  const magnitude = codes instanceof Uint16Array ? 0x7fff : 0x7fffffff;
  for (let i = 0; i < codes.length; i++) if ((codes[i]! & magnitude) === infinity) codes[i]! -= 1;
}
