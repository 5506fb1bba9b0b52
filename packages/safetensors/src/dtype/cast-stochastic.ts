import { codesOf } from "./cast-codes.ts";
import type { Dtype } from "./dtype.ts";
import { fromFloat32Bits } from "./small-float.ts";

/** Gives the next of an endless sequence of numbers, each a whole one from 0 to 2^32 - 1. */
export type RandomNumbers = () => number;

/** Random numbers of a seed and a text, which fill the generator's state by way of splitmix32. */
export function randomNumbers(seed: number, text: string): RandomNumbers {
  let mixed = seed | 0;
  for (let i = 0; i < text.length; i++) mixed = splitmix(mixed + text.charCodeAt(i));
  const state = (step: number): number => splitmix(mixed + Math.imul(step, 0x9e3779b9));
  return xoshiro128(state(1), state(2), state(3), state(4));
}

/**
 * The generator xoshiro128**, from a state of four words.
 *
 * Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators" (2021).
 */
export function xoshiro128(a: number, b: number, c: number, d: number): RandomNumbers {
  return () => {
    const product = Math.imul(b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return result;
  };
}

function splitmix(word: number): number {
  word = Math.imul(word ^ (word >>> 16), 0x21f0aaad);
  word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
  return word ^ (word >>> 15);
}

/** The largest finite float32. */
const LARGEST_FLOAT32 = (2 - 2 ** -23) * 2 ** 127;

/**
 * Replaces codes rounded to nearest by those of one of the value's two neighbours, the upper one with a chance of how far
 * the value is on its way there, to 2^-32. Values from the largest finite one on keep theirs. One number is drawn for
 * every value, needed or not, so that it depends on nothing but the place.
 */
export function roundStochastically(
  values: Float32Array | Float64Array,
  codes: Uint8Array | Uint16Array | Uint32Array,
  dtype: Dtype,
  random: RandomNumbers,
): void {
  const known = dtype === "F32" ? undefined : codesOf(dtype);
  const magnitudes = known?.magnitudes;
  const signBit = known ? known.sign : 0x80000000;
  const signlessZero = known?.signedZero === false;
  const largest = magnitudes ? magnitudes[magnitudes.length - 1]! : LARGEST_FLOAT32;
  const magnitudeOf = magnitudes ? (code: number) => magnitudes[code]! : fromFloat32Bits;
  for (let i = 0; i < values.length; i++) {
    const chance = random() * 2 ** -32;
    const magnitude = Math.abs(values[i]!);
    if (!(magnitude < largest)) continue;
    const nearest = signBit ? codes[i]! & (signBit - 1) : codes[i]!;
    const lower = magnitudeOf(nearest) > magnitude ? nearest - 1 : nearest;
    // Below the least of a dtype without zero.
    if (lower < 0) continue;
    const below = magnitudeOf(lower);
    const code = chance < (magnitude - below) / (magnitudeOf(lower + 1) - below) ? lower + 1 : lower;
    const negative = values[i]! < 0 || Object.is(values[i], -0);
    codes[i] = negative && !(code === 0 && signlessZero) ? code | signBit : code;
  }
}
