/** How HQQ puts several codes into one byte or word: rows `i`, `i + n`, `i + 2 n`, … of the codes share row `i` of it. */
export interface HqqPacking {
  /** Bits of a code. */
  readonly bits: number;
  /** Codes of a byte or word. */
  readonly parts: number;
  /** Bytes that they share. */
  readonly bytes: 1 | 4;
}

/** By the names that HQQ has for them. The first part lies in the highest bits. */
export const HQQ_PACKINGS: ReadonlyMap<string, HqqPacking> = new Map([
  ["8bit_u8", { bits: 8, parts: 1, bytes: 1 }],
  ["4bit_u8", { bits: 4, parts: 2, bytes: 1 }],
  ["3bit_32", { bits: 3, parts: 10, bytes: 4 }],
  ["2bit_u8", { bits: 2, parts: 4, bytes: 1 }],
  ["1bit_u8", { bits: 1, parts: 8, bytes: 1 }],
]);

/**
 * The codes, one a byte, row by row.
 *
 * @param packed `[ceil(rows / parts), columns]`; rows beyond `rows` fill the last parts
 */
export function unpackHqq(
  packed: Uint8Array,
  { bits, parts, bytes }: HqqPacking,
  rows: number,
  columns: number,
): Uint8Array {
  if (parts === 1) return packed;
  const codes = new Uint8Array(rows * columns);
  const items = Math.ceil(rows / parts) * columns;
  const mask = 2 ** bits - 1;
  const words = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  for (let item = 0; item < items; item++) {
    const word = bytes === 1 ? packed[item]! : words.getUint32(4 * item, true);
    // What lies beyond the end is padding, and a typed array ignores it.
    for (let part = 0; part < parts; part++)
      codes[part * items + item] = (word >>> (bits * (parts - 1 - part))) & mask;
  }
  return codes;
}
