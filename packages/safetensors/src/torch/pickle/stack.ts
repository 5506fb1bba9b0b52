import type { SafetensorsError } from "../../errors.ts";
import { MAX_PICKLE_MARKS } from "../../limits.ts";
import { MAX_PICKLE_VALUES } from "../limits.ts";
import { ARRAY, ARRAY_VALUE } from "./costs.ts";
import type { PickleReader } from "./reader.ts";
import type { PickleValue } from "./values.ts";

/**
 * The stack of the pickle machine, with its marks. A mark puts the values below it out of reach until it is popped:
 * Python's machine keeps a stack of stacks, here it is one array and the places of the marks.
 */
export class PickleStack {
  readonly #reader: PickleReader;
  /** The values, and behind them what others have left: an array that shrinks and grows again costs more. */
  readonly #values: PickleValue[] = [];
  #size = 0;
  readonly #marks: number[] = [];
  /** Values below this place are out of reach. */
  #floor = 0;

  constructor(reader: PickleReader) {
    this.#reader = reader;
  }

  push(value: PickleValue): void {
    if (this.#size === MAX_PICKLE_VALUES) {
      throw this.#reader.limit("MAX_PICKLE_VALUES", "too many values on the stack");
    }
    this.#values[this.#size++] = value;
  }

  pop(): PickleValue {
    if (this.#size === this.#floor) throw this.#missing(1);
    return this.#values[--this.#size]!;
  }

  /** The last value, which stays. */
  top(): PickleValue {
    if (this.#size === this.#floor) throw this.#missing(1);
    return this.#values[this.#size - 1]!;
  }

  /** The last `count` values, in the order in which they were pushed. */
  popMany(count: number): PickleValue[] {
    if (this.#size - this.#floor < count) throw this.#missing(count);
    return this.#cut(this.#size - count);
  }

  pushMark(): void {
    if (this.#marks.length >= MAX_PICKLE_MARKS) {
      throw this.#reader.limit("MAX_PICKLE_MARKS", "too many open marks");
    }
    this.#floor = this.#size;
    this.#marks.push(this.#floor);
  }

  /** The values above the last mark; the mark goes with them. */
  popToMark(): PickleValue[] {
    const marks = this.#marks;
    if (marks.length === 0) throw this.#reader.error("there is no mark", "fatal");
    const values = this.#cut(this.#floor);
    marks.pop();
    this.#floor = marks.length === 0 ? 0 : marks[marks.length - 1]!;
    return values;
  }

  /** Python's POP: the last value, or the last mark if there is nothing above it. */
  popValueOrMark(): void {
    if (this.#size === this.#floor && this.#marks.length > 0) this.popToMark();
    else this.pop();
  }

  /** Takes the values from a place on. */
  #cut(place: number): PickleValue[] {
    this.#reader.countMemory(ARRAY + ARRAY_VALUE * (this.#size - place));
    const values = this.#values.slice(place, this.#size);
    this.#size = place;
    return values;
  }

  #missing(count: number): SafetensorsError {
    const there = this.#size - this.#floor;
    return this.#reader.error(`${count} values are needed, ${there} are on the stack`, "fatal");
  }
}
