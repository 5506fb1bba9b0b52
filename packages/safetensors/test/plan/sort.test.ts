import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { sortedOrder } from "../../src/plan/sort.ts";
import { numbers } from "../support.ts";

/** What it must be: stable. */
const expected = (keys: readonly number[]): number[] => [...keys.keys()].sort((a, b) => keys[a]! - keys[b]!);

describe("sortedOrder", () => {
  it("sorts anything, and keeps the order of what is equal", () => {
    const property = fc.property(fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 200 }), (keys) => {
      assert.deepEqual([...sortedOrder(Float64Array.from(keys))], expected(keys));
    });
    fc.assert(property, { seed: 62, numRuns: 500 });
  });

  it("sorts ascending runs, descending keys and large numbers", () => {
    const runs = Array.from({ length: 7 }, (_, run) =>
      Array.from({ length: 50 }, (_, i) => i * 7 + run),
    ).flat();
    const descending = Array.from({ length: 100 }, (_, i) => 2 ** 52 - i);
    for (const keys of [runs, descending, [], [1], [2, 1], [0.5, 2 ** 53 - 1, 0]])
      assert.deepEqual([...sortedOrder(Float64Array.from(keys))], expected(keys));
  });

  it("sorts 300,000 keys without order", (test) => {
    const next = numbers(5);
    const keys = Float64Array.from({ length: 300_000 }, next);
    const start = performance.now();
    const order = sortedOrder(keys);
    test.diagnostic(`${Math.round(performance.now() - start)} ms`);
    const wrong = order.findIndex((place, i) => i > 0 && keys[order[i - 1]!]! > keys[place]!);
    assert.equal(wrong, -1);
    const seen = new Uint8Array(keys.length);
    for (const place of order) seen[place] = 1;
    assert.ok(seen.every((mark) => mark === 1));
  });
});
