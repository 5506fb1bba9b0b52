import { MAX_PICKLE_VALUES } from "../limits.ts";
import { MAP_ENTRY } from "./costs.ts";
import type { PickleReader } from "./reader.ts";
import type { PickleValue } from "./values.ts";

/**
 * The memo: values by index, as references. Indices that count up, which is how all picklers number them, lie in an
 * array; all others in a Map, so that a large index costs no memory.
 */
export class PickleMemo {
  readonly #reader: PickleReader;
  readonly #recalled: ReadonlySet<number> | undefined;
  readonly #dense: (PickleValue | undefined)[] = [];
  /** By text, which JavaScript tells apart quickly also where somebody has chosen the numbers so that it does not. */
  readonly #sparse = new Map<string, PickleValue | undefined>();

  /** @param recalled indices that will be asked for; other values are not kept. */
  constructor(reader: PickleReader, recalled: ReadonlySet<number> | undefined) {
    this.#reader = reader;
    this.#recalled = recalled;
  }

  /** Number of entries: the index that MEMOIZE takes. */
  get size(): number {
    return this.#dense.length + this.#sparse.size;
  }

  get(index: number): PickleValue {
    const value = index < this.#dense.length ? this.#dense[index] : this.#sparse.get(`m${index}`);
    if (value === undefined) throw this.#reader.error(`nothing was memorized as ${index}`);
    return value;
  }

  set(index: number, value: PickleValue): void {
    const dense = this.#dense;
    const { length } = dense;
    if (length + this.#sparse.size >= MAX_PICKLE_VALUES)
      throw this.#reader.limit("MAX_PICKLE_VALUES", "too large a memo");
    const kept = this.#recalled === undefined || this.#recalled.has(index) ? value : undefined;
    if (index < length) dense[index] = kept;
    else if (index === length && this.#sparse.size === 0) dense.push(kept);
    else {
      this.#reader.countMemory(MAP_ENTRY);
      this.#sparse.set(`m${index}`, kept);
    }
  }
}
