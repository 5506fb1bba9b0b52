import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Arena } from "../../src/kernels/arena.ts";

describe("an arena", () => {
  it("lends no byte twice, at cache lines, and has all again in the end", () => {
    const steps = fc.array(
      fc.oneof(
        fc.integer({ min: 0, max: 700 }),
        fc.nat(20).map((one) => -one - 1),
      ),
    );
    const sound = fc.property(steps, (all) => {
      const arena = new Arena(4096);
      const lent: { start: number; end: number }[] = [];
      for (const step of all) {
        if (step < 0) {
          const [one] = lent.splice((-step - 1) % Math.max(1, lent.length), 1);
          if (one) arena.takeBack(one.start);
          continue;
        }
        const start = arena.lend(step);
        if (start === undefined) continue;
        const end = start + step;
        assert.ok(start % 64 === 0 && end <= 4096);
        for (const other of lent)
          assert.ok(other.start !== start && (other.end <= start || end <= other.start));
        lent.push({ start, end });
      }
      for (const { start } of lent) arena.takeBack(start);
      assert.equal(arena.lend(4096), 0);
      assert.equal(arena.lend(0), undefined);
    });
    fc.assert(sound, { seed: 42, numRuns: 200 });
  });

  it("lends nothing where no number of bytes is asked for", () => {
    const arena = new Arena(4096);
    for (const bytes of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])
      assert.equal(arena.lend(bytes), undefined);
    assert.equal(arena.lend(4096), 0);
  });
});
