/** How many reads may be in flight. */
export interface Concurrency {
  readonly limit: number;
  /** Told of every read that has ended, with its bytes. */
  ended(bytes: number): void;
}

export function fixedConcurrency(limit: number): Concurrency {
  return { limit, ended() {} };
}

/** How much faster twice as many reads in flight must be to be worth it. */
const WORTH = 1.25;

/** Most reads in flight that tuning arrives at: beyond this, servers begin to refuse. */
const MOST = 16;

/**
 * For sources whose best number nobody knows, such as servers: begins with two reads in flight and doubles them as
 * long as the throughput of a round (as many reads as may be in flight) rises by a quarter. When it no longer does, or
 * when it falls later, it goes one step back; after a fall it begins to climb again from there.
 */
export class TunedConcurrency implements Concurrency {
  limit = 2;
  #best = 0;
  #isTrying = true;
  #roundBytes = 0;
  #roundReads = 0;
  #roundStart: number;
  readonly #clock: () => number;

  /** @param clock gives the time in milliseconds. */
  constructor(clock: () => number = () => performance.now()) {
    this.#clock = clock;
    this.#roundStart = clock();
  }

  ended(bytes: number): void {
    this.#roundBytes += bytes;
    this.#roundReads++;
    if (this.#roundReads < this.limit) return;
    const now = this.#clock();
    this.#adjust(this.#roundBytes / Math.max(now - this.#roundStart, 0.001));
    this.#roundBytes = 0;
    this.#roundReads = 0;
    this.#roundStart = now;
  }

  #adjust(rate: number): void {
    if (rate > this.#best * WORTH) {
      this.#best = rate;
      this.#isTrying = this.limit < MOST;
      this.limit = Math.min(this.limit * 2, MOST);
    } else if (this.#isTrying || rate < this.#best / WORTH) {
      this.limit = Math.max(this.limit / 2, 1);
      if (!this.#isTrying) this.#best = 0;
      this.#isTrying = false;
    }
  }
}
