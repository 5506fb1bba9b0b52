import { MAX_PICKLE_VALUES } from "../limits.ts";
import type { PickleReader } from "./reader.ts";
import type { PickleValue } from "./values.ts";

/**
 * The memo: values by index, as references. Indices that count up, which is how all picklers number them, lie in an
 * array; all others in a Map, so that a large index costs no memory.
 */
export class PickleMemo {
  readonly #reader: PickleReader;
  readonly #dense: PickleValue[] = [];
  readonly #sparse = new Map<number, PickleValue>();

  constructor(reader: PickleReader) {
    this.#reader = reader;
  }

  /** Number of entries: the index that MEMOIZE takes. */
  get size(): number {
    return this.#dense.length + this.#sparse.size;
  }

  get(index: number): PickleValue {
    const value = index < this.#dense.length ? this.#dense[index] : this.#sparse.get(index);
    if (value === undefined) throw this.#reader.error(`nothing was memorized as ${index}`);
    return value;
  }

  set(index: number, value: PickleValue): void {
    if (this.size >= MAX_PICKLE_VALUES) throw this.#reader.limit("MAX_PICKLE_VALUES", "too large a memo");
    if (index < this.#dense.length) this.#dense[index] = value;
    else if (index === this.#dense.length && this.#sparse.size === 0) this.#dense.push(value);
    else this.#sparse.set(index, value);
  }
}
