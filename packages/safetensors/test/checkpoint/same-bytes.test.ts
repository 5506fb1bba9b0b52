import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { sameBytes } from "../../src/checkpoint/same-bytes.ts";
import { noise } from "../support.ts";

describe("sameBytes", () => {
  it("sees every changed bit, at any alignment and length", () => {
    const places = fc.record({
      length: fc.nat(100),
      a: fc.nat(9),
      b: fc.nat(9),
      flipped: fc.option(fc.nat(99)),
      bit: fc.nat(7),
    });
    fc.assert(
      fc.property(places, ({ length, a, b, flipped, bit }) => {
        const bytes = noise(length, length + 1);
        const left = new Uint8Array(length + 10).subarray(a, a + length);
        const right = new Uint8Array(length + 10).subarray(b, b + length);
        left.set(bytes);
        right.set(bytes);
        const isFlipped = flipped !== null && flipped < length;
        if (isFlipped) right[flipped]! ^= 1 << bit;
        assert.equal(sameBytes(left, right), !isFlipped);
      }),
      { seed: 42, numRuns: 1000 },
    );
  });
});
