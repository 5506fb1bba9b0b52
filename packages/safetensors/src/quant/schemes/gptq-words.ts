import { asTypedArray } from "../../dtype/typed-array.ts";
import { ownBytes } from "./scales.ts";

/** Widths of the planes that codes of so many bits are split into, the lowest bits first (GPTQModel, `gptq_p`). */
const PLANES: readonly (readonly number[])[] = [[], [], [2], [2, 1], [4], [4, 1], [4, 2], [4, 2, 1], [8]];

/** 32-bit words in memory of their own, from little-endian bytes at any place. They are not to be changed: see `ownBytes`. */
export function wordsOf(bytes: Uint8Array): Uint32Array {
  return asTypedArray("U32", ownBytes({ bytes }), bytes.length / 4);
}

/**
 * The first `count` codes of each row of words, each row a dense stream of codes, lowest bits first.
 *
 * @param words `[rows, words of a row]`
 * @returns `[rows, count]`
 */
export function unpackRows(
  words: Uint32Array,
  rows: number,
  count: number,
  bits: number,
): Uint8Array<ArrayBuffer> {
  const rowWords = rows === 0 ? 0 : words.length / rows;
  const mask = 2 ** bits - 1;
  const codes = new Uint8Array(rows * count);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < count; i++) {
      const at = row * rowWords + Math.floor((i * bits) / 32);
      const shift = (i * bits) % 32;
      let code = words[at]! >>> shift;
      if (shift + bits > 32) code |= words[at + 1]! << (32 - shift);
      codes[row * count + i] = code & mask;
    }
  }
  return codes;
}

/** Whether planes of codes of so many bits are not the same as a stream of them. */
export function hasPlanes(bits: number): boolean {
  return PLANES[bits]!.length > 1;
}

/**
 * Puts codes that are split into planes together: of each 32 codes, `bits` words become as many of a dense stream.
 *
 * @param stored `[blocks, bits, step]`: `step` streams beside each other
 */
export function joinPlanes(stored: Uint32Array, bits: number, step: number): Uint32Array {
  const words = stored.slice();
  const codes = new Uint8Array(32);
  const blocks = words.length / (bits * step);
  for (let block = 0; block < blocks; block++) {
    for (let stream = 0; stream < step; stream++) {
      const first = block * bits * step + stream;
      codes.fill(0);
      let [plane, low] = [0, 0];
      for (const width of PLANES[bits]!) {
        const perWord = 32 / width;
        for (let i = 0; i < 32; i++) {
          const word = words[first + (plane + Math.floor(i / perWord)) * step]!;
          codes[i]! |= ((word >>> (width * (i % perWord))) & (2 ** width - 1)) << low;
        }
        plane += width;
        low += width;
      }
      for (let word = 0; word < bits; word++) words[first + word * step] = 0;
      for (let i = 0; i < 32; i++) {
        const at = first + Math.floor((i * bits) / 32) * step;
        const shift = (i * bits) % 32;
        words[at]! |= codes[i]! << shift;
        if (shift + bits > 32) words[at + step]! |= codes[i]! >>> (32 - shift);
      }
    }
  }
  return words;
}
