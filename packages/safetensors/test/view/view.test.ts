import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { byteLength, contiguousStrides, isContiguous } from "../../src/view/view.ts";

const shape = fc.array(fc.nat(4), { maxLength: 4 });

/** Places of all elements in row-major order. */
function places(shape: readonly number[], strides: readonly number[]): number[] {
  const [size, ...rest] = shape;
  if (size === undefined) return [0];
  return Array.from({ length: size }, (_, i) =>
    places(rest, strides.slice(1)).map((at) => at + i * strides[0]!),
  ).flat();
}

describe("isContiguous", () => {
  it("is true exactly where the elements lie one after another", () => {
    const strides = fc.array(fc.integer({ min: -3, max: 12 }), { minLength: 4, maxLength: 4 });
    const property = fc.property(shape, strides, (shape, strides) => {
      const inOrder = places(shape, strides).every((place, number) => place === number);
      assert.equal(isContiguous({ shape, strides }), inOrder);
      assert.ok(isContiguous({ shape, strides: contiguousStrides(shape) }));
    });
    fc.assert(property, { seed: 46, numRuns: 2000 });
  });

  it("does not look at the strides of axes of size 1", () => {
    assert.ok(isContiguous({ shape: [1, 3, 1], strides: [99, 1, -5] }));
    assert.ok(isContiguous({ shape: [], strides: [] }));
    assert.ok(!isContiguous({ shape: [2, 3], strides: [1, 2] }));
    assert.ok(!isContiguous({ shape: [2], strides: [-1] }));
  });
});

describe("contiguousStrides", () => {
  it("are those of NumPy", () => {
    assert.deepEqual(contiguousStrides([2, 3, 4]), [12, 4, 1]);
    assert.deepEqual(contiguousStrides([]), []);
    assert.deepEqual(contiguousStrides([5]), [1]);
  });
});

describe("byteLength", () => {
  it("counts whole bytes", () => {
    assert.equal(byteLength({ dtype: "F4", shape: [3] }), 2);
    assert.equal(byteLength({ dtype: "F6_E2M3", shape: [4, 5] }), 15);
    assert.equal(byteLength({ dtype: "C64", shape: [] }), 8);
    assert.equal(byteLength({ dtype: "U8", shape: [3, 0] }), 0);
  });
});
