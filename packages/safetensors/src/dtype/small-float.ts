/**
 * Floats of 16 bits and fewer, each widened to the bits of the float32 of the same value: every one of them has one.
 *
 * Sources: OCP 8-bit Floating Point (OFP8) 1.0 for E4M3 and E5M2; OCP Microscaling Formats (MX) 1.0 for F4, F6 and
 * E8M0; the FNUZ types as LLVM's APFloat defines them; IEEE 754 binary16 for F16.
 */

import type { Dtype } from "./dtype.ts";

/** Makes the bits of a float32 from the code of an element. */
export type Widen = (code: number) => number;

const NAN = 0x7fc00000;

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** The number that has these float32 bits. */
export function fromFloat32Bits(bits: number): number {
  scratchBits[0] = bits;
  return scratch[0]!;
}

/**
 * A binary float: sign, exponent, mantissa. `nans` lists the codes that are NaN in a format that spends no exponent on
 * infinities; without it the highest exponent holds the infinities and NaNs, as in IEEE 754.
 */
function binaryFloat(
  exponentBits: number,
  mantissaBits: number,
  bias: number,
  nans?: readonly number[],
): Widen {
  const highest = 2 ** exponentBits - 1;
  const shift = 23 - mantissaBits;
  return (code) => {
    if (nans?.includes(code)) return NAN;
    const sign = (code >> (exponentBits + mantissaBits)) << 31;
    const exponent = (code >> mantissaBits) & highest;
    const mantissa = code & (2 ** mantissaBits - 1);
    if (exponent === highest && !nans) return sign | 0x7f800000 | (mantissa << shift);
    if (exponent > 0) return sign | ((exponent - bias + 127) << 23) | (mantissa << shift);
    scratch[0] = mantissa * 2 ** (1 - bias - mantissaBits);
    return sign | scratchBits[0]!;
  };
}

/** How each dtype of at most 16 bits that is no integer is widened. BOOL is 1 for any byte but zero. */
export const WIDEN: { readonly [D in Dtype]?: Widen } = {
  BOOL: (code) => (code ? 0x3f800000 : 0),
  F4: binaryFloat(2, 1, 1, []),
  F6_E2M3: binaryFloat(2, 3, 1, []),
  F6_E3M2: binaryFloat(3, 2, 3, []),
  F8_E5M2: binaryFloat(5, 2, 15),
  F8_E4M3: binaryFloat(4, 3, 7, [0x7f, 0xff]),
  // 2^(code - 127); code 0 is no zero but 2^-127, which is subnormal as a float32.
  F8_E8M0: (code) => (code === 0xff ? NAN : code << 23 || 1 << 22),
  F8_E4M3FNUZ: binaryFloat(4, 3, 8, [0x80]),
  F8_E5M2FNUZ: binaryFloat(5, 2, 16, [0x80]),
  F16: binaryFloat(5, 10, 15),
  BF16: (code) => code << 16,
};
