/** How two tensors of the same shape differ in their values. */
export interface ValueDifferences {
  /** Elements of each tensor. */
  readonly elements: number;
  /** Elements whose values differ. 0 and -0 are the same; NaNs are if their bits are, or with `equalNan`. */
  readonly different: number;
  /** Of these, those that differ by more than the tolerance. */
  readonly beyond: number;
  /** Of these, those that are NaN on one side, or on both with other bits unless `equalNan`. */
  readonly nan: number;
  /** The largest |a - b|; of complex values the distance; a bigint for 64-bit integers. NaNs are passed over. */
  readonly maxAbsolute: number | bigint;
  /** The largest |a - b| / |b|: infinite where b is 0 and a is not. NaNs are passed over. */
  readonly maxRelative: number;
  /** Of real values, if norms were asked for: the norm of a - b divided by that of b, NaNs passed over. */
  readonly relativeError?: number;
  /** Which element has the largest |a - b|, counted in row-major order; undefined if none has one. */
  readonly worst: number | undefined;
}

/** Which differences do not matter: |a - b| <= atol + rtol * |b|, as in numpy.allclose. */
export interface Tolerance {
  readonly atol: number;
  readonly rtol: number;
  readonly equalNan: boolean;
  /** Whether to sum up squares too. */
  readonly norms?: boolean;
}

/** Whether the elements at a place have the same bits on both sides. */
export type SameBits = (index: number) => boolean;

/** Gathers the differences of two tensors whose values come in pieces. */
export class Tally {
  readonly #tolerance: Tolerance;
  #elements = 0;
  #different = 0;
  #beyond = 0;
  #nan = 0;
  #maxAbsolute: number | bigint = 0;
  #maxRelative = 0;
  #worst: number | undefined;
  /** Sums of squares: of the differences, and of b. */
  #squares: [differences: number, references: number] | undefined;

  constructor(tolerance: Tolerance) {
    this.#tolerance = tolerance;
  }

  get differences(): ValueDifferences {
    return {
      elements: this.#elements,
      different: this.#different,
      beyond: this.#beyond,
      nan: this.#nan,
      maxAbsolute: this.#maxAbsolute,
      maxRelative: this.#maxRelative,
      worst: this.#worst,
      ...(this.#squares && { relativeError: ratioOf(this.#squares) }),
    };
  }

  /** Elements that are known to be the same. */
  addSame(count: number): void {
    this.#elements += count;
  }

  /** Real numbers. Differences are those of doubles, whatever the dtype. */
  addReals(a: Float32Array | Float64Array, b: Float32Array | Float64Array, sameBits: SameBits): void {
    for (let i = 0; i < a.length; i++) {
      const x = a[i]!;
      const y = b[i]!;
      if (x === y) continue;
      if (Number.isNaN(x) || Number.isNaN(y)) this.#addNan(i, Number.isNaN(x) && Number.isNaN(y), sameBits);
      else this.#add(i, Math.abs(x - y), Math.abs(y));
    }
    if (this.#tolerance.norms) this.#addSquares(a, b);
    this.#elements += a.length;
  }

  /** Complex numbers, each as two: real, imaginary. A value is NaN if one of its parts is. */
  addComplex(a: Float32Array | Float64Array, b: Float32Array | Float64Array, sameBits: SameBits): void {
    const count = a.length / 2;
    for (let i = 0; i < count; i++) {
      const [xr, xi, yr, yi] = [a[2 * i]!, a[2 * i + 1]!, b[2 * i]!, b[2 * i + 1]!];
      if (xr === yr && xi === yi) continue;
      const xIsNan = Number.isNaN(xr) || Number.isNaN(xi);
      const yIsNan = Number.isNaN(yr) || Number.isNaN(yi);
      if (xIsNan || yIsNan) this.#addNan(i, xIsNan && yIsNan, sameBits);
      else this.#add(i, distance(xr, yr, xi, yi), Math.hypot(yr, yi));
    }
    this.#elements += count;
  }

  /** Integers of which one side or both have 64 bits; differences are exact. */
  addIntegers(a: BigInt64Array | BigUint64Array, b: BigInt64Array | BigUint64Array): void {
    if (this.#different === 0) this.#maxAbsolute = 0n;
    for (let i = 0; i < a.length; i++) {
      const x = a[i]!;
      const y = b[i]!;
      if (x === y) continue;
      this.#add(i, x > y ? x - y : y - x, Number(y < 0n ? -y : y));
    }
    this.#elements += a.length;
  }

  #addSquares(a: Float32Array | Float64Array, b: Float32Array | Float64Array): void {
    let [differences, references] = this.#squares ?? [0, 0];
    for (let i = 0; i < a.length; i++) {
      const y = b[i]!;
      const difference = a[i]! - y;
      // An infinity less the same infinity is NaN too.
      if (Number.isNaN(difference)) continue;
      differences += difference * difference;
      references += y * y;
    }
    this.#squares = [differences, references];
  }

  #add(index: number, difference: number | bigint, reference: number): void {
    const { atol, rtol } = this.#tolerance;
    const relative = Number(difference) / reference;
    this.#different++;
    // A bigint is compared with a number exactly; of an infinite b only the same infinity is close.
    const close = rtol === 0 ? difference <= atol : Number(difference) <= atol + rtol * reference;
    if (!(close && Number.isFinite(reference))) this.#beyond++;
    // Infinity / Infinity is NaN, but a difference without end is one also for its reference.
    const shown = Number.isNaN(relative) ? Number.POSITIVE_INFINITY : relative;
    if (shown > this.#maxRelative) this.#maxRelative = shown;
    if (this.#worst !== undefined && difference <= this.#maxAbsolute) return;
    this.#maxAbsolute = difference;
    this.#worst = this.#elements + index;
  }

  #addNan(index: number, both: boolean, sameBits: SameBits): void {
    if (both && (this.#tolerance.equalNan || sameBits(index))) return;
    this.#different++;
    this.#beyond++;
    this.#nan++;
  }
}

function ratioOf([differences, references]: readonly [number, number]): number {
  return differences === 0 ? 0 : Math.sqrt(differences / references);
}

/** Distance of two complex numbers; the same infinity on both sides is no distance. */
function distance(xr: number, yr: number, xi: number, yi: number): number {
  return Math.hypot(xr === yr ? 0 : xr - yr, xi === yi ? 0 : xi - yi);
}
