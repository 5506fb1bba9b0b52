/** A growing list of numbers in one block of memory: a plan may hold millions, which as a plain array cost twice the time. */
export class Column {
  length = 0;
  #values = new Float64Array(16);

  push(value: number): void {
    if (this.length === this.#values.length) {
      const grown = new Float64Array(this.length * 2);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.length++] = value;
  }

  get(index: number): number {
    return this.#values[index]!;
  }
}
