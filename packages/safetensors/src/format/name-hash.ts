/** Drawn once per process, so that nobody can prepare names that all fall into one slot of the table of names. */
const SEED = (Math.random() * 2 ** 32) | 0;

const TOP_BITS = 0x80808080 | 0;

/** Hashes names four bytes at a time, since a header is mostly names, and notes what bytes it meets. */
export class NameHasher {
  readonly #bytes: Uint8Array;
  readonly #words: DataView;
  #seen = 0;
  #control = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Whether all bytes so far were ASCII. */
  get ascii(): boolean {
    return (this.#seen & TOP_BITS) === 0;
  }

  /** Whether there was a byte below 0x20. */
  get control(): boolean {
    return (this.#control & TOP_BITS) !== 0;
  }

  hash(start: number, end: number): number {
    const words = this.#words;
    let seen = this.#seen;
    let control = this.#control;
    let hash = SEED;
    let at = start;
    for (; at < end; at += 4) {
      // The last bytes come one at a time, in the place of a word of spaces.
      const word = at + 4 <= end ? words.getInt32(at, true) : 0x20202000 | this.#bytes[at]!;
      seen |= word;
      // Sets the top bit of the lowest byte below 0x20; see Warren, Hacker's Delight, 6-1.
      control |= ((word - 0x20202020) | 0) & ~word;
      // The high bits are folded back so that they matter to the next step.
      hash = Math.imul(hash ^ word, 0x9e3779b1);
      hash ^= hash >>> 15;
      if (at + 4 > end) at -= 3;
    }
    this.#seen = seen;
    this.#control = control;
    return hash;
  }
}
