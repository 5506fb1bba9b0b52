/** Is shown the members that begin in bytes which were read for the headers in front of them. */
export interface HeadTaker {
  /** Bytes of each member that should be among them. */
  readonly size: number;
  /** The member in a row, of so many bytes as it is stored, begins at `at`. It may go on, or even begin, beyond the bytes. */
  take(row: number, bytes: Uint8Array, at: number, memberSize: number): void;
}

/** The first bytes of members, as they are stored: those that were read along with the header in front of them. */
export class MemberHeads implements HeadTaker {
  /** Bytes kept of each member, if it has so many. */
  readonly size: number;
  readonly #bytes: Uint8Array;
  readonly #lengths: Uint8Array;

  /** @param size at most 255. */
  constructor(members: number, size: number) {
    this.size = size;
    this.#bytes = new Uint8Array(members * size);
    this.#lengths = new Uint8Array(members);
  }

  /** Takes the head of the member in a row from bytes in which it begins at `at`, as far as it is there. */
  take(row: number, bytes: Uint8Array, at: number, memberSize: number): void {
    const length = Math.max(0, Math.min(this.size, memberSize, bytes.length - at));
    for (let index = 0; index < length; index++) this.#bytes[row * this.size + index] = bytes[at + index]!;
    this.#lengths[row] = length;
  }

  /** The first bytes of a member; nothing if there are not so many. */
  of(row: number, length: number): Uint8Array | undefined {
    const start = row * this.size;
    return length <= this.#lengths[row]! ? this.#bytes.subarray(start, start + length) : undefined;
  }
}
