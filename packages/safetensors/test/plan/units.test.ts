import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  forEachPlace,
  leadBits,
  spanBits,
  type Transfer,
  type TransferAxis,
  transferOf,
} from "../../src/plan/transfer.ts";
import { cutIntoUnits } from "../../src/plan/units.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { contiguousStrides, type StridedView } from "../../src/view/view.ts";

const axis = (size: number, source: number, target: number): TransferAxis => ({ size, source, target });

/** The units of a transfer of bytes: where each begins on both sides, and its span, all in bytes. */
function units(
  axes: readonly TransferAxis[],
  gap: number,
  most: number,
  bits = 8,
): [number, number, number][] {
  const found: [number, number, number][] = [];
  for (const { unit, repeats, source, target } of cutIntoUnits({ bits, axes }, gap, most)) {
    forEachPlace(repeats, source, target, (from, to) => found.push([from / 8, to / 8, spanBits(unit) / 8]));
  }
  return found;
}

/** Every element that moves: its place in the source, and in the destination. */
function elements(groups: readonly { transfer: Transfer; source: number; target: number }[]): string[] {
  const found: string[] = [];
  for (const { transfer, source, target } of groups)
    forEachPlace(transfer.axes, source, target, (from, to) => found.push(`${from}>${to}`));
  return found.sort();
}

describe("cutIntoUnits", () => {
  const [KB, MB] = [8 * 1024, 8 * 1024 * 1024];

  it("makes one unit of what lies in one piece and fits", () => {
    assert.deepEqual(units([axis(1000, 8, 8)], 0, MB), [[0, 0, 1000]]);
    assert.deepEqual(units([], 0, MB), [[0, 0, 1]]);
  });

  it("reads over a gap that is worth it, and skips a longer one", () => {
    const rows = [axis(3, 8 * 100, 8 * 10), axis(10, 8, 8)];
    assert.deepEqual(units(rows, 8 * 90, MB), [[0, 0, 210]]);
    assert.deepEqual(units(rows, 8 * 90 - 1, MB), [
      [0, 0, 10],
      [100, 10, 10],
      [200, 20, 10],
    ]);
  });

  it("skips long gaps inside a block although the blocks lie side by side", () => {
    // Two blocks of three elements, each 100 bytes from the next; the blocks follow each other without a gap.
    const blocks = [axis(2, 8 * 201, 8 * 3), axis(3, 8 * 100, 8)];
    assert.deepEqual(
      units(blocks, 8 * 50, MB).map(([source]) => source),
      [0, 100, 200, 201, 301, 401],
    );
    assert.deepEqual(units(blocks, 8 * 99, MB), [[0, 0, 402]]);
  });

  it("cuts at the longest read, with a shorter unit at the end", () => {
    assert.deepEqual(units([axis(10_000, 8, 8)], 0, 4 * KB), [
      [0, 0, 4096],
      [4096, 4096, 4096],
      [8192, 8192, 1808],
    ]);
    // Rows of 20 bytes at distances of 80: three span 180, four span 260.
    const rows = [axis(7, 8 * 80, 8 * 20), axis(20, 8, 8)];
    assert.deepEqual(units(rows, MB, 8 * 259), [
      [0, 0, 180],
      [240, 60, 180],
      [480, 120, 20],
    ]);
    assert.deepEqual(units(rows, MB, 8 * 260), [
      [0, 0, 260],
      [320, 80, 180],
    ]);
  });

  it("gives an element its bytes even where reads are shorter", () => {
    for (const most of [0, 1, 8, 31]) {
      assert.deepEqual(units([axis(3, 32, 32)], MB, most, 32), [
        [0, 0, 4],
        [4, 4, 4],
        [8, 8, 4],
      ]);
    }
  });

  it("does not walk along what repeats", () => {
    const repeated = [axis(2 ** 40, 0, 8), axis(3, 8, 8 * 2 ** 40)];
    for (const most of [0, 8, 16, MB]) {
      const groups = cutIntoUnits({ bits: 8, axes: repeated }, 0, most);
      const count = groups.reduce(
        (sum, { repeats }) => sum + repeats.reduce((all, { size }) => all * size, 1),
        0,
      );
      assert.ok(count <= 3, `${count} units`);
    }
    assert.deepEqual(cutIntoUnits({ bits: 32, axes: [axis(2 ** 40, 0, 32)] }, 0, 32).length, 1);
  });

  it("starts units of small elements on whole bytes", () => {
    for (const bits of [4, 6]) {
      for (const [source, , span] of units([axis(10_000, bits, bits)], 0, 8 * 1001, bits))
        assert.ok(Number.isInteger(source) && (Number.isInteger(span) || source > 6000), `${source} ${span}`);
    }
  });

  it("puts the axes of a unit in the order of the destination", () => {
    const [group] = cutIntoUnits({ bits: 8, axes: [axis(3, 8, 40), axis(5, 24, 8)] }, MB, MB);
    assert.deepEqual(group!.unit.axes, [axis(3, 8, 40), axis(5, 24, 8)]);
    const [turned] = cutIntoUnits({ bits: 8, axes: [axis(5, 24, 8), axis(3, 8, 40)] }, MB, MB);
    assert.deepEqual(turned!.unit.axes, [axis(3, 8, 40), axis(5, 24, 8)]);
  });

  it("moves every element once, in spans that keep to gap and size, for any transfer", () => {
    const anyAxis = fc.record({
      size: fc.integer({ min: 2, max: 5 }),
      source: fc.integer({ min: -60, max: 60 }),
      target: fc.integer({ min: -60, max: 60 }),
    });
    const property = fc.property(
      fc.array(anyAxis, { maxLength: 4 }),
      fc.constantFrom(4, 6, 8, 16),
      fc.integer({ min: 0, max: 40 }),
      fc.integer({ min: 0, max: 200 }),
      (axes, bits, gap, most) => {
        const scaled = axes.map(({ size, source, target }) => axis(size, source * bits, target * bits));
        const transfer = { bits, axes: scaled };
        const found: { transfer: Transfer; source: number; target: number }[] = [];
        for (const { unit, repeats, source, target } of cutIntoUnits(transfer, gap * bits, most)) {
          assert.ok(unit.axes.every(({ size }) => size > 1));
          assert.ok(spanBits(unit) <= Math.max(most, bits), `a span of ${spanBits(unit)} bits`);
          // The elements of a unit leave no gap that is longer.
          const at: number[] = [];
          forEachPlace(unit.axes, leadBits(unit), 0, (from) => at.push(from));
          at.sort((a, b) => a - b);
          assert.equal(at[0], 0);
          for (let i = 1; i < at.length; i++) assert.ok(at[i]! - at[i - 1]! - bits <= gap * bits);
          forEachPlace(repeats, source, target, (from, to) => {
            found.push({ transfer: unit, source: from, target: to });
          });
        }
        assert.deepEqual(elements(found), elements([{ transfer, source: 0, target: 0 }]));
      },
    );
    fc.assert(property, { seed: 61, numRuns: 1000 });
  });
});

describe("transferOf", () => {
  const source = fromBytes(new Uint8Array(0));
  const axesOf = (shape: number[], strides: number[], whole = shape): readonly TransferAxis[] => {
    const view: StridedView = { source, dtype: "F32", shape, strides, bitOffset: 0 };
    return transferOf(view, contiguousStrides(whole), 32).axes;
  };

  it("makes one axis of those that continue each other on both sides", () => {
    assert.deepEqual(axesOf([2, 3, 4], [12, 4, 1]), [axis(24, 32, 32)]);
    assert.deepEqual(axesOf([2, 3, 4], [-12, -4, -1]), [axis(24, -32, 32)]);
    assert.deepEqual(axesOf([2, 12], [-12, 1]), [axis(2, -12 * 32, 12 * 32), axis(12, 32, 32)]);
    assert.deepEqual(axesOf([2, 3, 4], [24, 8, 2]), [axis(24, 64, 32)]);
    assert.deepEqual(axesOf([2, 3, 4], [100, 4, 1]), [axis(2, 3200, 12 * 32), axis(12, 32, 32)]);
    assert.deepEqual(axesOf([2, 3, 4], [12, 4, 1], [2, 6, 4]), [axis(2, 384, 768), axis(12, 32, 32)]);
  });

  it("leaves out axes of one index, whatever their stride", () => {
    assert.deepEqual(axesOf([1, 3, 1, 4, 1], [7, 4, -9, 1, 0]), [axis(12, 32, 32)]);
    assert.deepEqual(axesOf([1, 1], [5, 5]), []);
    assert.deepEqual(axesOf([], []), []);
  });

  it("keeps what repeats apart", () => {
    assert.deepEqual(axesOf([3, 4], [0, 1]), [axis(3, 0, 128), axis(4, 32, 32)]);
    assert.deepEqual(axesOf([3, 4], [0, 0]), [axis(12, 0, 32)]);
  });
});

describe("the span of a transfer", () => {
  it("goes from its first to behind its last bit, and begins before index zero for negative strides", () => {
    const transfer = { bits: 16, axes: [axis(3, -100, 32), axis(2, 40, 16), axis(9, 0, 500)] };
    assert.equal(spanBits(transfer), 16 + 200 + 40);
    assert.equal(leadBits(transfer), 200);
  });
});
