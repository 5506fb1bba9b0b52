/**
 * Drawn once per process, so that nobody can prepare names that all fall into one slot of the table of names. A secret
 * start is not enough: differences in the top bits pass through a known multiplication, and could be cancelled.
 */
const SEED = (Math.random() * 2 ** 32) | 0;
const SECRET_FACTOR = (Math.random() * 2 ** 32) | 0 | 1;

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
    for (; at + 4 <= end; at += 4) {
      const word = words.getInt32(at, true);
      seen |= word;
      // Sets the top bit of the lowest byte below 0x20; see Warren, Hacker's Delight, 6-1.
      control |= ((word - 0x20202020) | 0) & ~word;
      hash = Math.imul(hash ^ word, 0x9e3779b1);
      hash = Math.imul(hash ^ (hash >>> 15), SECRET_FACTOR);
    }
    for (; at < end; at++) {
      const byte = this.#bytes[at]!;
      seen |= byte;
      control |= (byte - 0x20) & ~byte;
      hash = Math.imul(hash ^ byte, 0x9e3779b1);
      hash = Math.imul(hash ^ (hash >>> 15), SECRET_FACTOR);
    }
    this.#seen = seen;
    this.#control = control;
    return hash;
  }
}
