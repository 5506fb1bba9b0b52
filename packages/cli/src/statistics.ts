/** Bins of the histogram. */
const BINS = 24;

/** What is known of the values of a tensor. */
export interface Summary {
  readonly count: number;
  readonly nan: number;
  readonly infinite: number;
  readonly zero: number;
  /** Of the finite values; undefined if there are none. */
  readonly min: number | undefined;
  readonly max: number | undefined;
  readonly mean: number | undefined;
  /** Standard deviation of the finite values as a population. */
  readonly std: number | undefined;
  /** How many finite values fall into each of equal parts of the range from `min` to `max`. */
  readonly histogram: readonly number[];
}

/**
 * Gathers statistics over values that come in pieces, in one pass and constant memory.
 *
 * Mean and deviation follow Welford, so that large means do not swallow small deviations. The histogram has more bins
 * than it shows and doubles their width when a value falls outside.
 */
export class Statistics {
  #count = 0;
  #nan = 0;
  #infinite = 0;
  #zero = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = Number.NEGATIVE_INFINITY;
  #finite = 0;
  #mean = 0;
  #squares = 0;
  readonly #bins = new GrowingHistogram();

  add(values: ArrayLike<number>): void {
    this.#count += values.length;
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      if (!Number.isFinite(value)) {
        if (Number.isNaN(value)) this.#nan++;
        else this.#infinite++;
        continue;
      }
      if (value === 0) this.#zero++;
      if (value < this.#min) this.#min = value;
      if (value > this.#max) this.#max = value;
      this.#finite++;
      const distance = value - this.#mean;
      this.#mean += distance / this.#finite;
      this.#squares += distance * (value - this.#mean);
      this.#bins.add(value);
    }
  }

  get summary(): Summary {
    const some = this.#finite > 0;
    return {
      count: this.#count,
      nan: this.#nan,
      infinite: this.#infinite,
      zero: this.#zero,
      min: some ? this.#min : undefined,
      max: some ? this.#max : undefined,
      mean: some ? this.#mean : undefined,
      std: some ? Math.sqrt(this.#squares / this.#finite) : undefined,
      histogram: some ? this.#bins.between(this.#min, this.#max, BINS) : [],
    };
  }
}

/** Bins of equal width, a power of two, around zero: a value outside makes all of them twice as wide. */
class GrowingHistogram {
  static readonly #SIZE = 4096;
  #width = 0;
  #counts = new Float64Array(GrowingHistogram.#SIZE);

  add(value: number): void {
    const half = GrowingHistogram.#SIZE / 2;
    if (this.#width === 0)
      this.#width = 2 ** Math.ceil(Math.log2(Math.max(Math.abs(value), 1e-30) / half)) * 2;
    while (value >= this.#width * half || value < -this.#width * half) this.#double();
    const bin = Math.floor(value / this.#width) + half;
    this.#counts[bin]!++;
  }

  /** The counts in `parts` equal parts of a range; a bin belongs to the part that holds its middle. */
  between(min: number, max: number, parts: number): number[] {
    const half = GrowingHistogram.#SIZE / 2;
    const result = new Array<number>(parts).fill(0);
    for (const [bin, count] of this.#counts.entries()) {
      if (count === 0) continue;
      const middle = (bin - half + 0.5) * this.#width;
      const part = max > min ? Math.floor(((middle - min) / (max - min)) * parts) : 0;
      result[Math.min(Math.max(part, 0), parts - 1)]! += count;
    }
    return result;
  }

  #double(): void {
    const wider = new Float64Array(GrowingHistogram.#SIZE);
    const half = GrowingHistogram.#SIZE / 2;
    for (const [bin, count] of this.#counts.entries()) wider[Math.floor((bin - half) / 2) + half]! += count;
    this.#counts = wider;
    this.#width *= 2;
  }
}
