import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fixedConcurrency, TunedConcurrency } from "../../src/plan/concurrency.ts";

/**
 * A server in simulated time: a read takes `latency` milliseconds, and its bytes come through a line that all reads
 * share, one after the other.
 */
class Server {
  now = 0;
  latency = 100;
  /** Bytes in a millisecond. */
  bandwidth = Number.POSITIVE_INFINITY;
  #lineFree = 0;
  readonly #ends: number[] = [];
  readonly tuned: TunedConcurrency = new TunedConcurrency(() => this.now);

  /** Runs so many reads to their ends, always with as many in flight as allowed; gives the limits on the way. */
  run(reads: number, bytes = 1000): number[] {
    const limits: number[] = [];
    for (let ended = 0; ended < reads; ended++) {
      while (this.#ends.length < this.tuned.limit) {
        this.#lineFree = Math.max(this.#lineFree, this.now + this.latency) + bytes / this.bandwidth;
        this.#ends.push(this.#lineFree);
      }
      this.#ends.sort((a, b) => a - b);
      this.now = this.#ends.shift()!;
      this.tuned.ended(bytes);
      limits.push(this.tuned.limit);
    }
    return limits;
  }
}

describe("a tuned concurrency", () => {
  it("rises to its most while more reads bring more", () => {
    const server = new Server();
    const limits = server.run(60);
    assert.deepEqual([...new Set(limits)], [2, 4, 8, 16]);
    assert.deepEqual(
      server.run(100).filter((limit) => limit !== 16),
      [],
    );
  });

  it("stays where the line is full, and not above", () => {
    const server = new Server();
    // Four reads of 1000 bytes in 100 ms fill the line.
    server.bandwidth = 40;
    server.run(100);
    const limits = server.run(200);
    assert.ok(
      limits.every((limit) => limit === 4 || limit === 8),
      `${new Set(limits)}`,
    );
  });

  it("stays at two where the second already brought nothing", () => {
    const server = new Server();
    server.latency = 0;
    server.bandwidth = 10;
    server.run(50);
    assert.deepEqual([...new Set(server.run(50))], [2]);
  });

  it("falls back when it gets slower, and climbs again when it gets faster", () => {
    const server = new Server();
    server.run(60);
    server.bandwidth = 5;
    const slow = server.run(200);
    assert.ok(Math.min(...slow) <= 8 && slow.at(-1)! <= 8, `${slow}`);
    assert.ok(Math.min(...slow) >= 1);
    server.bandwidth = Number.POSITIVE_INFINITY;
    assert.equal(server.run(300).at(-1), 16);
  });

  it("never allows less than one, whatever it is told", () => {
    let now = 0;
    const tuned = new TunedConcurrency(() => now);
    for (let i = 0; i < 1000; i++) {
      now = 10 + i ** 2;
      tuned.ended(i % 7 === 0 ? 0 : 1e6 / (i + 1));
      assert.ok(Number.isInteger(tuned.limit) && tuned.limit >= 1 && tuned.limit <= 16, `${tuned.limit}`);
    }
    // A clock that stands still.
    for (let i = 0; i < 100; i++) tuned.ended(0);
    assert.ok(tuned.limit >= 1);
  });
});

it("a fixed concurrency stays as it is", () => {
  const fixed = fixedConcurrency(3);
  fixed.ended(1e9);
  assert.equal(fixed.limit, 3);
});
