import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { BufferPool } from "../../src/plan/buffer-pool.ts";

describe("a buffer pool", () => {
  it("gives the same memory again for the same size", () => {
    const pool = new BufferPool(1000);
    const first = pool.take(100);
    assert.equal(first.length, 100);
    pool.give(first);
    assert.notEqual(pool.take(99), first);
    assert.equal(pool.take(100), first);
    assert.notEqual(pool.take(100), first);
    assert.deepEqual([pool.used, pool.kept], [299, 0]);
  });

  it("never gives memory to two at once", () => {
    const pool = new BufferPool(1000);
    const taken = [pool.take(50), pool.take(50), pool.take(50)];
    for (const buffer of taken) pool.give(buffer);
    assert.equal(new Set([pool.take(50), pool.take(50), pool.take(50), pool.take(50)]).size, 4);
  });

  it("drops what is kept when others need the room, the size longest unused first", () => {
    const pool = new BufferPool(100);
    const [old, young] = [pool.take(30), pool.take(40)];
    pool.give(old);
    pool.give(young);
    pool.reserve(31);
    assert.deepEqual([pool.used, pool.kept], [31, 40]);
    pool.reserve(29);
    assert.deepEqual([pool.used, pool.kept], [60, 40]);
    pool.reserve(1);
    assert.deepEqual([pool.used, pool.kept], [61, 0]);

    const other = new BufferPool(100);
    const [first, second] = [other.take(30), other.take(40)];
    other.give(first);
    other.give(second);
    other.give(other.take(30));
    other.reserve(61);
    assert.deepEqual([other.used, other.kept], [61, 30]);
  });

  it("says what fits", () => {
    const pool = new BufferPool(100);
    const buffer = pool.take(60);
    assert.deepEqual([pool.fits(40), pool.fits(41)], [true, false]);
    pool.give(buffer);
    assert.ok(pool.fits(100));
  });

  it("keeps to its budget and its accounts, for any use", () => {
    const step = fc.record({ size: fc.integer({ min: 0, max: 40 }), kind: fc.nat(3) });
    const property = fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const pool = new BufferPool(100);
      const taken: Uint8Array[] = [];
      let reserved = 0;
      for (const { size, kind } of steps) {
        if (kind === 0 && pool.fits(size)) taken.push(pool.take(size));
        if (kind === 1 && taken.length > 0) pool.give(taken.splice(size % taken.length, 1)[0]!);
        if (kind === 2 && pool.fits(size)) {
          pool.reserve(size);
          reserved += size;
        }
        if (kind === 3 && size <= reserved) {
          pool.release(size);
          reserved -= size;
        }
        assert.equal(pool.used, reserved + taken.reduce((sum, { length }) => sum + length, 0));
        assert.ok(pool.kept >= 0 && pool.used + pool.kept <= 100);
        assert.equal(new Set(taken).size, taken.length);
      }
    });
    fc.assert(property, { seed: 63, numRuns: 500 });
  });
});
