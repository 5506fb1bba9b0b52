/** Rows that are packed together where the result is transposed, so that whole cache lines are read and written. */
const TILE = 64;

/** 32-bit words that a dense stream of codes takes. */
export function wordsOf(count: number, bits: number): number {
  return Math.ceil((count * bits) / 32);
}

/** Each row a dense stream of codes, the lowest bits first: `[rows, columns]` gives `[rows, words]`. */
export function packRows(codes: Uint8Array, rows: number, columns: number, bits: number): Uint32Array {
  const words = wordsOf(columns, bits);
  const packed = new Uint32Array(rows * words);
  for (let row = 0; row < rows; row++) {
    for (let word = 0; word < words; word++)
      packed[row * words + word] = wordOf(codes, row * columns, columns, bits, word);
  }
  return packed;
}

/** The same with the streams in columns: `[rows, columns]` gives `[words, rows]`. */
export function packColumns(codes: Uint8Array, rows: number, columns: number, bits: number): Uint32Array {
  const words = wordsOf(columns, bits);
  const packed = new Uint32Array(words * rows);
  for (let tile = 0; tile < rows; tile += TILE) {
    const end = Math.min(tile + TILE, rows);
    for (let word = 0; word < words; word++) {
      for (let row = tile; row < end; row++)
        packed[word * rows + row] = wordOf(codes, row * columns, columns, bits, word);
    }
  }
  return packed;
}

/** A word of the stream of `count` codes from `start` on. */
function wordOf(codes: Uint8Array, start: number, count: number, bits: number, word: number): number {
  let at = Math.floor((word * 32) / bits);
  const end = Math.min(count, Math.ceil((word * 32 + 32) / bits));
  let shift = at * bits - word * 32;
  let value = 0;
  // The first code may have begun in the word before.
  if (shift < 0) {
    value = codes[start + at]! >>> -shift;
    at++;
    shift += bits;
  }
  for (; at < end; at++, shift += bits) value |= codes[start + at]! << shift;
  return value;
}

/** The order in which AWQ lays eight outputs into a word, from the lowest bits on. */
const AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7] as const;

/**
 * Eight neighbouring rows of codes of 4 bits in a word: `[rows, columns]` gives `[columns, rows / 8]`. With `rowStep` and
 * `columnStep` the codes may lie transposed.
 */
export function packAwqWords(
  codes: Uint8Array,
  rows: number,
  columns: number,
  rowStep: number,
  columnStep: number,
): Uint32Array {
  const words = rows / 8;
  const packed = new Uint32Array(columns * words);
  for (let tile = 0; tile < columns; tile += TILE) {
    const end = Math.min(tile + TILE, columns);
    for (let word = 0; word < words; word++) {
      for (let column = tile; column < end; column++) {
        const at = column * columnStep + word * 8 * rowStep;
        let value = 0;
        for (let i = 0; i < 8; i++) value |= codes[at + AWQ_ORDER[i]! * rowStep]! << (4 * i);
        packed[column * words + word] = value;
      }
    }
  }
  return packed;
}
