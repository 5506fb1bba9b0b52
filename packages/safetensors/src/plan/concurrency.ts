/** How many reads may be in flight. */
export interface Concurrency {
  readonly limit: number;
  /** Told of every read that has ended: its bytes, and the time in milliseconds. */
  ended(bytes: number, now: number): void;
}

export function fixedConcurrency(limit: number): Concurrency {
  return { limit, ended() {} };
}

/** How much faster a round must be to make one more in flight worth it. */
const WORTH = 1.1;

/** Most reads in flight that tuning arrives at: beyond this, servers begin to refuse. */
const MOST = 16;

/**
 * For sources whose best number nobody knows, such as servers: starts with two in flight and adds one as long as the
 * throughput of a round (as many reads as may be in flight) rises by a tenth; takes one back when it falls.
 */
export class TunedConcurrency implements Concurrency {
  limit = 2;
  #best = 0;
  #roundBytes = 0;
  #roundReads = 0;
  #roundStart: number | undefined;

  ended(bytes: number, now: number): void {
    this.#roundStart ??= now;
    this.#roundBytes += bytes;
    this.#roundReads++;
    if (this.#roundReads <= this.limit) return;
    const rate = this.#roundBytes / Math.max(now - this.#roundStart, 0.001);
    if (rate > this.#best * WORTH) {
      this.#best = rate;
      this.limit = Math.min(this.limit + 1, MOST);
    } else if (rate < this.#best / WORTH) {
      this.limit = Math.max(this.limit - 1, 1);
      this.#best = rate;
    }
    this.#roundBytes = 0;
    this.#roundReads = 0;
    this.#roundStart = now;
  }
}
