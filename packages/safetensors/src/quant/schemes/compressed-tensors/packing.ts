import { greatestCommonDivisor } from "../pieces.ts";

/** How codes lie in words of 32 bits, the first one in the lowest bits. */
export interface Packing {
  readonly bits: number;
  /** Codes of a word, where none goes over into the next; if not given, the stream is dense. */
  readonly perWord: number | undefined;
  /** So many codes fill whole words, and how many these are. */
  readonly every: number;
  readonly takes: number;
}

/** compressed-tensors from 0.18.0 on (its pull request 715): a dense stream. */
export function densePacking(bits: number): Packing {
  const every = 32 / greatestCommonDivisor(32, bits);
  return { bits, perWord: undefined, every, takes: (every * bits) / 32 };
}

/** compressed-tensors before that: as many codes as a word holds whole. The same for 1, 2, 4 and 8 bits. */
export function wholePacking(bits: number): Packing {
  const perWord = Math.floor(32 / bits);
  return { bits, perWord, every: perWord, takes: 1 };
}

/** Words that so many codes take. */
export function wordsFor(count: number, { bits, perWord }: Packing): number {
  return Math.ceil(perWord === undefined ? (count * bits) / 32 : count / perWord);
}

/**
 * The packings that `count` codes of these bits can have in so many words. Two, if both fit and differ: then nothing
 * tells them apart.
 */
export function packingsOf(bits: number, count: number, words: number): Packing[] {
  const [dense, whole] = [densePacking(bits), wholePacking(bits)];
  const isSame = 32 % bits === 0 || count <= Math.floor(32 / bits);
  return [dense, ...(isSame ? [] : [whole])].filter((one) => wordsFor(count, one) === words);
}

/**
 * Codes that are packed along the first axis.
 *
 * @param words `[words, columns]`
 * @returns `[rows, columns]`
 */
export function unpackDown(
  words: Uint32Array,
  rows: number,
  columns: number,
  packing: Packing,
): Float32Array {
  const { bits, perWord } = packing;
  const out = new Float32Array(rows * columns);
  const mask = 2 ** bits - 1;
  for (let row = 0; row < rows; row++) {
    const first =
      perWord === undefined ? row * bits : Math.floor(row / perWord) * 32 + (row % perWord) * bits;
    const [word, shift] = [Math.floor(first / 32), first % 32];
    for (let column = 0; column < columns; column++) {
      let code = words[word * columns + column]! >>> shift;
      if (shift + bits > 32) code |= words[(word + 1) * columns + column]! << (32 - shift);
      out[row * columns + column] = code & mask;
    }
  }
  return out;
}
