/** Rows that are packed together where the result is transposed, so that whole cache lines are read and written. */
const TILE = 64;

/** 32-bit words that a dense stream of codes takes. */
export function wordCount(count: number, bits: number): number {
  return Math.ceil((count * bits) / 32);
}

/** Each row a dense stream of codes, the lowest bits first: `[rows, columns]` gives `[rows, words]`. */
export function packRows(codes: Uint8Array, rows: number, columns: number, bits: number): Uint32Array {
  const words = wordCount(columns, bits);
  const packed = new Uint32Array(rows * words);
  for (let row = 0; row < rows; row++) {
    for (let word = 0; word < words; word++)
      packed[row * words + word] = wordOf(codes, row * columns, columns, bits, word);
  }
  return packed;
}

/** The same with the streams in columns: `[rows, columns]` gives `[words, rows]`. */
export function packColumns(codes: Uint8Array, rows: number, columns: number, bits: number): Uint32Array {
  const words = wordCount(columns, bits);
  const packed = new Uint32Array(words * rows);
  const isNibbles = bits === 4 && columns % 8 === 0 && codes.byteOffset % 4 === 0;
  const fours = isNibbles ? new Uint32Array(codes.buffer, codes.byteOffset, codes.length / 4) : undefined;
  for (let tile = 0; tile < rows; tile += TILE) {
    const end = Math.min(tile + TILE, rows);
    for (let word = 0; word < words; word++) {
      if (fours) packNibbles(fours, columns / 4, word, tile, end, packed, rows);
      else {
        for (let row = tile; row < end; row++)
          packed[word * rows + row] = wordOf(codes, row * columns, columns, bits, word);
      }
    }
  }
  return packed;
}

/** A word of 4-bit codes from each of some rows, of which two words have four bytes each: a fifth of the time of `wordOf`. */
function packNibbles(
  fours: Uint32Array,
  stride: number,
  word: number,
  from: number,
  to: number,
  packed: Uint32Array,
  rows: number,
): void {
  for (let row = from; row < to; row++) {
    const at = row * stride + 2 * word;
    packed[word * rows + row] = halfWord(fours[at]!) | (halfWord(fours[at + 1]!) << 16);
  }
}

/** Four bytes that are less than 16, side by side in 16 bits. */
function halfWord(four: number): number {
  const pairs = (four | (four >>> 4)) & 0x00ff00ff;
  return (pairs | (pairs >>> 8)) & 0xffff;
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
