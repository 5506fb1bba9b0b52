/** Bytes, packed and unpacked, up to which inflating at once is faster than through a `DecompressionStream`. */
export const SMALL_BYTES: number = 1 << 16;

/** What came out of compressed data. */
export interface Inflated {
  readonly bytes: Uint8Array;
  /** Why it is not all: there is more than was asked for, or the data is damaged or cut off. */
  readonly short: "limit" | "damaged" | undefined;
}

/**
 * Inflates a few bytes at once (RFC 1951): the runtimes' decompressors take longer to begin than this takes for all of
 * them. It refuses what zlib refuses, and bytes after the last block; what comes before an error stands.
 *
 * @param limit bytes to unpack at most, up to `SMALL_BYTES`.
 */
export function inflateSmall(packed: Uint8Array, limit: number): Inflated {
  inflater ??= new Inflater();
  return inflater.inflate(packed, limit);
}

let inflater: Inflater | undefined;

const MAX_CODE_BITS = 15;

/** Codes of up to so many bits are looked up; longer ones, which are rare, are followed bit by bit. */
const LOOKUP_BITS = 9;
const LOOKUP_MASK: number = (1 << LOOKUP_BITS) - 1;

const END_OF_BLOCK = 256;
const LITERALS = 286;
const DISTANCES = 30;

/** Lengths of the two codes together; the fixed ones have symbols that never occur. */
const MAX_LENGTHS = 288 + 32;

/** The order in which the lengths of the code of code lengths are stored (3.2.7). */
const LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** For the symbols 257 to 285, the shortest length and the bits that are added to it (3.2.5). */
const [LENGTH_BASES, LENGTH_BITS] = ranges(28, 4, 3);
LENGTH_BASES[28] = 258;

/** The same for distances. */
const [DISTANCE_BASES, DISTANCE_BITS] = ranges(DISTANCES, 2, 1);

/** Values in ranges, of which each group has as many as share a number of bits, the first two groups none. */
function ranges(count: number, group: number, first: number): [bases: Uint16Array, bits: Uint8Array] {
  const bases = new Uint16Array(count + 1);
  const bits = new Uint8Array(count + 1);
  for (let symbol = 0, base = first; symbol < count; symbol++) {
    bases[symbol] = base;
    bits[symbol] = Math.max(0, Math.floor(symbol / group) - 1);
    base += 1 << bits[symbol]!;
  }
  return [bases, bits];
}

/** Numbers of as many bits as are looked up, with the bits in the other order: codes lie so in the data. */
const REVERSED = Uint16Array.from({ length: 1 << LOOKUP_BITS }, (_, number) => {
  let reversed = 0;
  for (let bit = 0; bit < LOOKUP_BITS; bit++) reversed |= ((number >> bit) & 1) << (LOOKUP_BITS - 1 - bit);
  return reversed;
});

/** Thrown, and caught, where the data is damaged: without a stack, which costs more than inflating. */
const DAMAGED: unique symbol = Symbol("damaged");

/** The same where there is more than was asked for. */
const FULL: unique symbol = Symbol("full");

/** A Huffman code that is given by the length of each symbol's code (3.2.2). */
class Code {
  /** For the next bits, the symbol and, in the low four bits, the length of its code; 0 if that is longer, or none. */
  readonly lookup: Uint16Array = new Uint16Array(1 << LOOKUP_BITS);
  /** How many codes there are of each length. */
  readonly counts: Uint16Array = new Uint16Array(MAX_CODE_BITS + 1);
  /** The symbols in the order of their codes. */
  readonly symbols: Uint16Array = new Uint16Array(288);
  readonly #next = new Uint16Array(MAX_CODE_BITS + 1);
  readonly #places = new Uint16Array(MAX_CODE_BITS + 1);

  /** @param mayBePartial whether there may be no code at all, or one of one bit. */
  set(lengths: Uint8Array, start: number, end: number, mayBePartial: boolean): void {
    const { lookup, counts, symbols } = this;
    counts.fill(0);
    for (let at = start; at < end; at++) counts[lengths[at]!]!++;
    counts[0] = 0;
    let left = 1;
    let used = 0;
    for (let length = 1, code = 0; length <= MAX_CODE_BITS; length++) {
      code = (code + counts[length - 1]!) << 1;
      this.#next[length] = code;
      this.#places[length] = used;
      used += counts[length]!;
      left = 2 * left - counts[length]!;
      if (left < 0) throw DAMAGED;
    }
    if (left > 0 && !(mayBePartial && used === counts[1])) throw DAMAGED;
    lookup.fill(0);
    for (let at = start; at < end; at++) {
      const length = lengths[at]!;
      if (length === 0) continue;
      symbols[this.#places[length]!++] = at - start;
      const code = this.#next[length]!++;
      if (length > LOOKUP_BITS) continue;
      let reversed = REVERSED[code]! >> (LOOKUP_BITS - length);
      for (; reversed < lookup.length; reversed += 1 << length)
        lookup[reversed] = ((at - start) << 4) | length;
    }
  }
}

/** The two codes of a block. */
interface Codes {
  readonly literals: Code;
  readonly distances: Code;
}

class Inflater {
  readonly #dynamic: Codes = { literals: new Code(), distances: new Code() };
  #fixed: Codes | undefined;
  readonly #lengths = new Uint8Array(MAX_LENGTHS);
  /** Reused: a copy of what came out costs less than fresh memory for what may come. */
  readonly #out = new Uint8Array(SMALL_BYTES);
  #packed = this.#out;
  #at = 0;
  /** Bits that were taken from the data and not used yet, the next one lowest, and how many. */
  #bits = 0;
  #count = 0;
  #limit = 0;
  #done = 0;

  inflate(packed: Uint8Array, limit: number): Inflated {
    this.#packed = packed as Uint8Array<ArrayBuffer>;
    this.#limit = Math.min(limit, SMALL_BYTES);
    this.#at = this.#bits = this.#count = this.#done = 0;
    const short = this.#run();
    // Nothing of the caller's is to be held.
    this.#packed = this.#out;
    return { bytes: this.#out.slice(0, this.#done), short };
  }

  #run(): Inflated["short"] {
    try {
      for (let isLast = 0; isLast === 0; ) {
        isLast = this.#take(1);
        const type = this.#take(2);
        if (type === 0) this.#stored();
        else if (type === 3) throw DAMAGED;
        else this.#compressed(type === 1 ? this.#fixedCodes() : this.#dynamicCodes());
      }
      return this.#at - (this.#count >> 3) < this.#packed.length ? "damaged" : undefined;
    } catch (thrown) {
      if (thrown === FULL) return "limit";
      if (thrown === DAMAGED) return "damaged";
      throw thrown;
    }
  }

  /** The next bits, up to 16, the first one lowest. */
  #take(count: number): number {
    while (this.#count < count) {
      if (this.#at === this.#packed.length) throw DAMAGED;
      this.#bits |= this.#packed[this.#at++]! << this.#count;
      this.#count += 8;
    }
    const value = this.#bits & ((1 << count) - 1);
    this.#bits >>>= count;
    this.#count -= count;
    return value;
  }

  /** The next symbol of a code. */
  #symbol({ lookup, counts, symbols }: Code): number {
    while (this.#count < MAX_CODE_BITS && this.#at < this.#packed.length) {
      this.#bits |= this.#packed[this.#at++]! << this.#count;
      this.#count += 8;
    }
    const entry = lookup[this.#bits & LOOKUP_MASK]!;
    if (entry !== 0) {
      const length = entry & 15;
      if (length > this.#count) throw DAMAGED;
      this.#bits >>>= length;
      this.#count -= length;
      return entry >> 4;
    }
    let code = 0;
    let first = 0;
    let place = 0;
    for (let length = 1; length <= MAX_CODE_BITS; length++) {
      code |= this.#take(1);
      const count = counts[length]!;
      if (code < first + count) return symbols[place + code - first]!;
      place += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw DAMAGED;
  }

  #stored(): void {
    this.#take(this.#count & 7);
    const length = this.#take(16);
    if (length !== (this.#take(16) ^ 0xffff)) throw DAMAGED;
    // Whole bytes may have been taken.
    this.#at -= this.#count >> 3;
    this.#bits = this.#count = 0;
    const end = Math.min(this.#at + length, this.#packed.length);
    const part = this.#packed.subarray(this.#at, Math.min(end, this.#at + this.#limit - this.#done));
    this.#out.set(part, this.#done);
    this.#done += part.length;
    this.#at += part.length;
    if (this.#at < end) throw FULL;
    if (part.length < length) throw DAMAGED;
  }

  #fixedCodes(): Codes {
    if (this.#fixed) return this.#fixed;
    const [literals, distances] = [new Code(), new Code()];
    const lengths = this.#lengths;
    lengths.fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280, 288).fill(5, 288);
    literals.set(lengths, 0, 288, false);
    distances.set(lengths, 288, MAX_LENGTHS, false);
    this.#fixed = { literals, distances };
    return this.#fixed;
  }

  #dynamicCodes(): Codes {
    const codes = this.#dynamic;
    const lengths = this.#lengths;
    const literals = this.#take(5) + 257;
    const distances = this.#take(5) + 1;
    const stored = this.#take(4) + 4;
    if (literals > LITERALS || distances > DISTANCES) throw DAMAGED;
    lengths.fill(0, 0, LENGTH_ORDER.length);
    for (let index = 0; index < stored; index++) lengths[LENGTH_ORDER[index]!] = this.#take(3);
    codes.literals.set(lengths, 0, LENGTH_ORDER.length, false);
    const end = literals + distances;
    for (let at = 0; at < end; ) {
      const symbol = this.#symbol(codes.literals);
      if (symbol < 16) {
        lengths[at++] = symbol;
        continue;
      }
      if (symbol === 16 && at === 0) throw DAMAGED;
      const length = symbol === 16 ? lengths[at - 1]! : 0;
      const repeat =
        symbol === 16 ? 3 + this.#take(2) : symbol === 17 ? 3 + this.#take(3) : 11 + this.#take(7);
      if (at + repeat > end) throw DAMAGED;
      lengths.fill(length, at, at + repeat);
      at += repeat;
    }
    if (lengths[END_OF_BLOCK] === 0) throw DAMAGED;
    codes.literals.set(lengths, 0, literals, true);
    codes.distances.set(lengths, literals, end, true);
    return codes;
  }

  /** Writes the literals that come next, as long as all goes well: most of the time is spent here, so in local variables. */
  #copyLiterals({ lookup }: Code): void {
    const packed = this.#packed;
    const out = this.#out;
    const limit = this.#limit;
    let at = this.#at;
    let bits = this.#bits;
    let count = this.#count;
    let done = this.#done;
    while (done < limit) {
      while (count < MAX_CODE_BITS && at < packed.length) {
        bits |= packed[at++]! << count;
        count += 8;
      }
      const entry = lookup[bits & LOOKUP_MASK]!;
      const length = entry & 15;
      const symbol = entry >> 4;
      if (entry === 0 || length > count || symbol >= END_OF_BLOCK) break;
      out[done++] = symbol;
      bits >>>= length;
      count -= length;
    }
    this.#at = at;
    this.#bits = bits;
    this.#count = count;
    this.#done = done;
  }

  #compressed({ literals, distances }: Codes): void {
    const out = this.#out;
    const limit = this.#limit;
    for (;;) {
      this.#copyLiterals(literals);
      const symbol = this.#symbol(literals);
      if (symbol < END_OF_BLOCK) {
        if (this.#done === limit) throw FULL;
        out[this.#done++] = symbol;
        continue;
      }
      if (symbol === END_OF_BLOCK) return;
      if (symbol >= LITERALS) throw DAMAGED;
      const length = LENGTH_BASES[symbol - 257]! + this.#take(LENGTH_BITS[symbol - 257]!);
      const far = this.#symbol(distances);
      if (far >= DISTANCES) throw DAMAGED;
      const distance = DISTANCE_BASES[far]! + this.#take(DISTANCE_BITS[far]!);
      if (distance > this.#done) throw DAMAGED;
      const end = Math.min(this.#done + length, limit);
      const isFull = this.#done + length > limit;
      // Byte by byte: what is copied may be what was just written.
      for (let at = this.#done; at < end; at++) out[at] = out[at - distance]!;
      this.#done = end;
      if (isFull) throw FULL;
    }
  }
}
