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

  /** Puts the numbers into another order: `order[i]` is the old place of the one that comes to place `i`. */
  reorder(order: Uint32Array): void {
    const old = this.#values;
    this.#values = new Float64Array(this.length);
    for (let i = 0; i < this.length; i++) this.#values[i] = old[order[i]!]!;
  }
}
