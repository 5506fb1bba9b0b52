import { DTYPE_ORDER, DTYPES } from "../dtype/dtype.ts";
import { NameHasher } from "./name-hash.ts";

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Fewest bytes that a tensor takes in a header: `"":["U8",[],[0,0]],`. */
const SMALLEST_ENTRY = 19;

const CLOSE_BRACKET = 0x5d;

const BITS = DTYPE_ORDER.map((dtype) => DTYPES[dtype].bits);

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
  /** Names written with escapes, decoded to UTF-8. */
  readonly #decodedNames = new Map<number, Uint8Array>();
  /** Rows whose name appears again later. */
  readonly #superseded = new Set<number>();
  #hashes = new Int32Array(0);
  /** Hash table with open addressing: the row plus one, 0 for an empty slot. */
  #slots = new Int32Array(1);

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
  }

  /** Appends a row. `elements` is Infinity if the product of the dimensions leaves 64 bits. */
  add(
    nameStart: number,
    nameEnd: number,
    dtype: number,
    shapeAt: number,
    elements: number,
    begin: number,
    end: number,
  ): void {
    const row = this.count++;
    const bits = elements * BITS[dtype]!;
    this.nameStart[row] = nameStart;
    this.nameEnd[row] = nameEnd;
    this.dtype[row] = dtype;
    this.shapeAt[row] = shapeAt;
    this.byteSize[row] = bits >= 2 ** 64 ? Number.POSITIVE_INFINITY : bits / 8;
    this.begin[row] = begin;
    this.end[row] = end;
  }

  /** Gives the last row its name, which was written with escapes, in UTF-8. */
  setDecodedName(name: Uint8Array): void {
    this.#decodedNames.set(this.count - 1, name);
    this.plainNames = false;
  }

  /**
   * Builds the hash table. Where a name appears again, `onDuplicate` is told, and the later row counts.
   *
   * @returns whether all names are ASCII, and the place of a control character in a name, or -1.
   */
  indexNames(onDuplicate: (row: number, earlier: number) => void): { ascii: boolean; controlAt: number } {
    const { json, nameStart, nameEnd, count } = this;
    const hasher = new NameHasher(json);
    this.#hashes = new Int32Array(count);
    this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(count * 2 + 1)));
    for (let row = 0; row < count; row++) {
      const decoded = this.#decodedNames.get(row);
      const hash = decoded ? hashOf(decoded) : hasher.hash(nameStart[row]!, nameEnd[row]!);
      this.#hashes[row] = hash;
      const slot = decoded
        ? this.#slotOf(hash, decoded, 0, decoded.length)
        : this.#slotOf(hash, json, nameStart[row]!, nameEnd[row]!);
      const earlier = this.#slots[slot]! - 1;
      if (earlier >= 0) {
        onDuplicate(row, earlier);
        this.#superseded.add(earlier);
      }
      this.#slots[slot] = row + 1;
    }
    return { ascii: hasher.ascii, controlAt: hasher.control ? this.#findControl() : -1 };
  }

  /** All rows but those whose name appears again later, in the order of the JSON. */
  rows(): Uint32Array {
    const rows = new Uint32Array(this.count - this.#superseded.size);
    let next = 0;
    for (let row = 0; row < this.count; row++) if (!this.#superseded.has(row)) rows[next++] = row;
    return rows;
  }

  /** Row of the tensor of that name, or -1. */
  find(name: string): number {
    // A lone surrogate would turn into U+FFFD on encoding, and then match a name that has that character.
    if (!name.isWellFormed()) return -1;
    const bytes = new TextEncoder().encode(name);
    return this.#slots[this.#slotOf(hashOf(bytes), bytes, 0, bytes.length)]! - 1;
  }

  /** Shape of the tensor in a row, or the first `most` dimensions of it. */
  shape(row: number, most?: number): number[] {
    const start = this.shapeAt[row]! + 1;
    const text = utf8.decode(this.json.subarray(start, this.json.indexOf(CLOSE_BRACKET, start))).trim();
    return text === "" ? [] : text.split(",", most).map(Number);
  }

  /** Name of the tensor in a row. */
  name(row: number): string {
    return utf8.decode(
      this.#decodedNames.get(row) ?? this.json.subarray(this.nameStart[row], this.nameEnd[row]),
    );
  }

  /** The slot of the name that lies in `source` from `start` to `end`, or the empty one where it would go. */
  #slotOf(hash: number, source: Uint8Array, start: number, end: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const row = this.#slots[slot]! - 1;
      if (row < 0 || (this.#hashes[row] === hash && this.#hasName(row, source, start, end))) return slot;
    }
  }

  #hasName(row: number, source: Uint8Array, start: number, end: number): boolean {
    const own = this.#decodedNames.get(row) ?? this.json.subarray(this.nameStart[row], this.nameEnd[row]);
    return own.length === end - start && own.every((byte, index) => byte === source[start + index]);
  }

  #findControl(): number {
    for (let row = 0; row < this.count; row++) {
      for (let at = this.nameStart[row]!; at < this.nameEnd[row]!; at++) if (this.json[at]! < 0x20) return at;
    }
    return -1;
  }
}

function hashOf(name: Uint8Array): number {
  return new NameHasher(name).hash(0, name.length);
}
