import { MAX_PICKLE_MARKS } from "../../limits.ts";
import { MAX_PICKLE_VALUES } from "../limits.ts";
import type { PickleReader } from "./reader.ts";
import type { PickleValue } from "./values.ts";

/**
 * The stack of the pickle machine, with its marks. A mark puts the values below it out of reach until it is popped:
 * Python's machine keeps a stack of stacks, here it is one array and the places of the marks.
 */
export class PickleStack {
  readonly #reader: PickleReader;
  readonly #values: PickleValue[] = [];
  readonly #marks: number[] = [];
  /** Values below this place are out of reach. */
  #floor = 0;

  constructor(reader: PickleReader) {
    this.#reader = reader;
  }

  push(value: PickleValue): void {
    if (this.#values.push(value) > MAX_PICKLE_VALUES) {
      throw this.#reader.limit("MAX_PICKLE_VALUES", "too many values on the stack");
    }
  }

  pop(): PickleValue {
    this.#need(1);
    return this.#values.pop()!;
  }

  /** The last value, which stays. */
  top(): PickleValue {
    this.#need(1);
    return this.#values[this.#values.length - 1]!;
  }

  /** The last `count` values, in the order in which they were pushed. */
  popMany(count: number): PickleValue[] {
    this.#need(count);
    return this.#cut(this.#values.length - count);
  }

  pushMark(): void {
    if (this.#marks.length >= MAX_PICKLE_MARKS) {
      throw this.#reader.limit("MAX_PICKLE_MARKS", "too many open marks");
    }
    this.#floor = this.#values.length;
    this.#marks.push(this.#floor);
  }

  /** The values above the last mark; the mark goes with them. */
  popToMark(): PickleValue[] {
    if (this.#marks.length === 0) throw this.#reader.error("there is no mark");
    const values = this.#cut(this.#floor);
    this.#marks.pop();
    this.#floor = this.#marks.at(-1) ?? 0;
    return values;
  }

  /** Python's POP: the last value, or the last mark if there is nothing above it. */
  popValueOrMark(): void {
    if (this.#values.length === this.#floor && this.#marks.length > 0) this.popToMark();
    else this.pop();
  }

  /** Takes the values from a place on: `splice`, and a new length, would take longer. */
  #cut(place: number): PickleValue[] {
    const values = this.#values.slice(place);
    for (let count = values.length; count > 0; count--) this.#values.pop();
    return values;
  }

  #need(count: number): void {
    const there = this.#values.length - this.#floor;
    if (there < count) throw this.#reader.error(`${count} values are needed, ${there} are on the stack`);
  }
}
