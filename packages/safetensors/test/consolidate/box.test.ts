import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Box, boxText, findHole, findOverlap } from "../../src/consolidate/box.ts";
import { elementCount } from "../../src/dtype/dtype.ts";
import { cutsOf } from "./random-cuts.ts";

const SHAPES = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 4 });

/** How many boxes cover each element. */
function coverage(shape: readonly number[], boxes: readonly Box[]): Map<string, number> {
  const counts = new Map(indicesOf({ at: shape.map(() => 0), shape }).map((index) => [String(index), 0]));
  for (const box of boxes) {
    for (const index of indicesOf(box)) counts.set(String(index), counts.get(String(index))! + 1);
  }
  return counts;
}

function indicesOf({ at, shape }: Box): number[][] {
  return shape.reduce<number[][]>(
    (indices, size, axis) =>
      indices.flatMap((index) => Array.from({ length: size }, (_, i) => [...index, at[axis]! + i])),
    [[]],
  );
}

describe("boxes", () => {
  it("are written as in Python", () => {
    assert.equal(boxText({ at: [0, 2], shape: [4, 6] }), "[0:4, 2:8]");
    assert.equal(boxText({ at: [], shape: [] }), "[]");
  });

  it("cover a tensor or leave a hole that is one", () => {
    const property = fc.property(
      SHAPES,
      fc.integer(),
      fc.nat(),
      fc.boolean(),
      (shape, seed, victim, lose) => {
        const boxes = cutsOf(shape, 8, seed);
        assert.equal(findOverlap(boxes), undefined);
        const kept = lose ? boxes.toSpliced(victim % boxes.length, 1) : boxes;
        const hole = findHole(shape, kept);
        if (!lose) return assert.equal(hole, undefined);
        assert.ok(elementCount(hole!.shape) > 0);
        const counts = coverage(shape, kept);
        for (const index of indicesOf(hole!)) assert.equal(counts.get(String(index)), 0);
      },
    );
    fc.assert(property, { seed: 42, numRuns: 100 });
  });

  it("overlap where an element is in two of them", () => {
    const box = fc
      .tuple(...[0, 1].map(() => fc.tuple(fc.nat(4), fc.integer({ min: 1, max: 3 }))))
      .map((axes) => ({
        at: axes.map(([begin]) => begin),
        shape: axes.map(([, size]) => size),
      }));
    const property = fc.property(fc.array(box, { maxLength: 5 }), (boxes) => {
      const isTwice = [...coverage([7, 7], boxes).values()].some((count) => count > 1);
      const found = findOverlap(boxes);
      assert.equal(found !== undefined, isTwice);
      if (found) assert.ok([...coverage([7, 7], found).values()].includes(2));
    });
    fc.assert(property, { seed: 42, numRuns: 200 });
  });

  it("are counted at once, however large the tensor and however many they are", () => {
    const rows = Array.from({ length: 10_000 }, (_, i) => ({ at: [i * 2 ** 36, 0], shape: [2 ** 36, 8] }));
    const shape = [rows.length * 2 ** 36, 8];
    assert.equal(findOverlap(rows), undefined);
    assert.equal(findHole(shape, rows), undefined);
    assert.deepEqual(findHole(shape, rows.toSpliced(5000, 1)), rows[5000]);
  });
});
