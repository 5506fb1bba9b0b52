import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cutOfDense, cutParts, denseShape, grainOf } from "../../src/quant/cut-parts.ts";
import type { QuantizedWeight } from "../../src/quant/weight.ts";
import type { Cut } from "../../src/view/cut.ts";
import { raises } from "../support.ts";
import { blockWeight } from "./weights.ts";

const cutsOf = (weight: QuantizedWeight, cut: Cut): Record<string, Cut> =>
  Object.fromEntries(cutParts(weight, cut).parts.map(({ part, cut }) => [part.role, cut]));

describe("the parts of a piece of a quantised weight", () => {
  const { weight } = blockWeight("m", [10, 64], [4, 32]);

  it("are cut as the weight is, in units of blocks", () => {
    const rows: Cut = [{ axis: 0, ranges: [{ start: 4, stop: 8 }] }];
    const scales = [{ axis: 0, ranges: [{ start: 1, stop: 2 }] }];
    assert.deepEqual(cutsOf(weight, rows), { weight: rows, scales, shape: [] });
    const columns: Cut = [{ axis: 1, ranges: [{ start: 32, stop: 64 }] }];
    assert.deepEqual(cutsOf(weight, columns).scales, [{ axis: 1, ranges: [{ start: 1, stop: 2 }] }]);
  });

  it("reach to the ragged end", () => {
    const cut: Cut = [{ axis: 0, ranges: [{ start: 8, stop: 10 }] }];
    assert.deepEqual(cutsOf(weight, cut).scales, [{ axis: 0, ranges: [{ start: 2, stop: 3 }] }]);
  });

  it("state the shape of the piece", () => {
    const { shape, parts } = cutParts(weight, [{ axis: 0, ranges: [{ start: 0, stop: 8 }] }]);
    assert.deepEqual(shape, [8, 64]);
    const { restated } = parts.find(({ part }) => part.role === "shape")!;
    assert.deepEqual([...new BigInt64Array(restated!.bytes.slice().buffer)], [8n, 64n]);
  });

  it("are refused off the limits of blocks, with the tensor that forbids it", () => {
    const cut: Cut = [{ axis: 0, ranges: [{ start: 2, stop: 8 }] }];
    assert.throws(
      () => cutParts(weight, cut),
      raises("INVALID_SLICE", /2:8 of axis 0 does not lie on multiples of 4: "m\.scales" of shape \[3,2\]/),
    );
    const steps: Cut = [{ axis: 1, ranges: [{ start: 0, stop: 64, step: 2 }] }];
    assert.throws(() => cutParts(weight, steps), raises("INVALID_SLICE", /0:64:2 of axis 1/));
    const padded: Cut = [{ axis: 1, ranges: [{ start: 0, stop: 64 }], padding: 2 }];
    assert.throws(() => cutParts(weight, padded), raises("INVALID_SLICE", /not padded/));
    const ragged: Cut = [
      {
        axis: 0,
        ranges: [
          { start: 8, stop: 10 },
          { start: 0, stop: 4 },
        ],
      },
    ];
    assert.throws(() => cutParts(weight, ragged), raises("INVALID_SLICE", /ragged end of axis 0/));
  });

  it("stay whole where the weight can only be had whole", () => {
    const { weight } = blockWeight("m", [8, 8], [1, 8], { indivisible: "its rows are packed in halves" });
    cutParts(weight, []);
    cutParts(weight, [{ axis: 0, ranges: [{ start: 0, stop: 8 }] }]);
    const cut: Cut = [{ axis: 0, ranges: [{ start: 0, stop: 4 }] }];
    assert.throws(() => cutParts(weight, cut), raises("INVALID_SLICE", /packed in halves/));
  });

  it("have limits that are multiples for each axis", () => {
    assert.deepEqual(grainOf(weight), [4, 32]);
    const twice = {
      ...weight,
      parts: [...weight.parts, { ...weight.parts[1]!, links: [null, { axis: 1, every: 24, takes: 1 }] }],
    };
    assert.deepEqual(grainOf(twice), [4, 96]);
  });

  it("follow the dense form where that lies the other way round", () => {
    const { weight } = blockWeight("m", [2, 8, 64], [4, 32], { transposed: true });
    assert.deepEqual(denseShape(weight), [2, 64, 8]);
    const ranges = [{ start: 0, stop: 1 }];
    const cut: Cut = [0, 1, 2].map((axis) => ({ axis, ranges }));
    assert.deepEqual(
      cutOfDense(weight, cut).map(({ axis }) => axis),
      [0, 2, 1],
    );
    assert.deepEqual(denseShape({ ...weight, transposed: false }), [2, 8, 64]);
  });
});
