/** A range of memory of which parts are lent: the first place that is large enough. */
export class Arena {
  readonly #size: number;
  /** What is lent, in order. */
  readonly #lent: { readonly start: number; readonly end: number }[] = [];

  /** @param size in bytes */
  constructor(size: number) {
    this.#size = size - (size % 64);
  }

  /** Where so many bytes begin that nobody has, at a cache line; nothing if there is no room, or can be none. */
  lend(bytes: number): number | undefined {
    if (!(Number.isInteger(bytes) && bytes >= 0)) return undefined;
    const size = Math.ceil(Math.max(1, bytes) / 64) * 64;
    let start = 0;
    let at = 0;
    for (; at < this.#lent.length && this.#lent[at]!.start - start < size; at++) start = this.#lent[at]!.end;
    if (start + size > this.#size) return undefined;
    this.#lent.splice(at, 0, { start, end: start + size });
    return start;
  }

  /** Takes back what begins there; nothing happens if nothing does. */
  takeBack(start: number): void {
    const at = this.#lent.findIndex((lent) => lent.start === start);
    if (at >= 0) this.#lent.splice(at, 1);
  }
}
