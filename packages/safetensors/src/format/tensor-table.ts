import { hashBytes } from "./json-cursor.ts";

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Fewest bytes that a tensor takes in a header: `"":["U8",[],[0,0]],`. */
const SMALLEST_ENTRY = 19;

/**
 * The tensors of a header as columns, with a hash table over the bytes of their names.
 *
 * Nothing is decoded until it is asked for: a header of 100,000 tensors costs no string and no object.
 */
export class TensorTable {
  count = 0;
  /** Whether the JSON is ASCII and no name has escapes: a name then is the text between its quotes. */
  plainNames = true;
  readonly json: Uint8Array;
  readonly nameStart: Uint32Array;
  readonly nameEnd: Uint32Array;
  /** Place in `DTYPE_ORDER`. */
  readonly dtype: Uint8Array;
  /** Where the shape's array starts in the JSON. */
  readonly shapeAt: Uint32Array;
  /** Bytes that shape and dtype ask for: a fraction where the last byte is not filled, Infinity beyond 64 bits. */
  readonly byteSize: Float64Array;
  readonly begin: Float64Array;
  readonly end: Float64Array;
  readonly #hashes: Int32Array;
  /** Hash table with open addressing: number of the tensor plus one, 0 for an empty slot. */
  #slots = new Int32Array(256);
  /** Names written with escapes, decoded to UTF-8. */
  readonly #escaped = new Map<number, Uint8Array>();

  constructor(json: Uint8Array) {
    // Memory for the most tensors that the JSON can hold; pages that stay untouched cost nothing.
    const most = Math.floor(json.length / SMALLEST_ENTRY) + 1;
    this.json = json;
    this.nameStart = new Uint32Array(most);
    this.nameEnd = new Uint32Array(most);
    this.dtype = new Uint8Array(most);
    this.shapeAt = new Uint32Array(most);
    this.byteSize = new Float64Array(most);
    this.begin = new Float64Array(most);
    this.end = new Float64Array(most);
    this.#hashes = new Int32Array(most);
  }

  /** Number of the tensor of that name, or -1. */
  find(name: string): number {
    // A lone surrogate would turn into U+FFFD on encoding, and then match a name that has that character.
    if (!name.isWellFormed()) return -1;
    const bytes = new TextEncoder().encode(name);
    return this.#slots[this.#slotOf(hashBytes(bytes), bytes, 0, bytes.length)]! - 1;
  }

  /**
   * Number of the tensor whose name stands in the JSON from `start` to `end`: a known one, or a new one at the end
   * (`count - 1`). `decoded` is the name in UTF-8 if it was written with escapes, `hash` that of its UTF-8 bytes.
   */
  intern(start: number, end: number, decoded: Uint8Array | undefined, hash: number): number {
    const slot = decoded
      ? this.#slotOf(hash, decoded, 0, decoded.length)
      : this.#slotOf(hash, this.json, start, end);
    const known = this.#slots[slot]! - 1;
    if (known >= 0) return known;
    const number = this.count++;
    this.nameStart[number] = start;
    this.nameEnd[number] = end;
    this.#hashes[number] = hash;
    if (decoded) {
      this.#escaped.set(number, decoded);
      this.plainNames = false;
    }
    this.#slots[slot] = number + 1;
    if (this.count * 2 > this.#slots.length) this.#growSlots();
    return number;
  }

  /** Name of a tensor. */
  name(number: number): string {
    return utf8.decode(this.#nameBytes(number));
  }

  #nameBytes(number: number): Uint8Array {
    return this.#escaped.get(number) ?? this.json.subarray(this.nameStart[number], this.nameEnd[number]);
  }

  /** The slot of the name that lies in `source` from `start` to `end`, or the empty one where it would go. */
  #slotOf(hash: number, source: Uint8Array, start: number, end: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const number = this.#slots[slot]! - 1;
      if (number < 0 || (this.#hashes[number] === hash && this.#hasName(number, source, start, end)))
        return slot;
    }
  }

  #hasName(number: number, source: Uint8Array, start: number, end: number): boolean {
    const own = this.#nameBytes(number);
    if (own.length !== end - start) return false;
    for (let i = 0; i < own.length; i++) if (own[i] !== source[start + i]) return false;
    return true;
  }

  #growSlots(): void {
    const slots = new Int32Array(this.#slots.length * 4);
    const mask = slots.length - 1;
    for (let number = 0; number < this.count; number++) {
      let slot = this.#hashes[number]! & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = number + 1;
    }
    this.#slots = slots;
  }
}
