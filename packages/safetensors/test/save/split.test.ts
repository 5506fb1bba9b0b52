import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  parseSize,
  shardName,
  splitByLayer,
  splitEvenly,
  splitGreedily,
  splitTightly,
} from "../../src/save/split.ts";
import { raises } from "../support.ts";

const split = (sizes: readonly number[], most: number): number[][] =>
  splitGreedily(
    sizes.map((size, index) => [String(index), size] as const),
    most,
  ).map((names) => names.map((name) => sizes[Number(name)]!));

describe("splitting tensors into files", () => {
  // What huggingface_hub's split_state_dict_into_shards_factory gives.
  for (const [sizes, most, expected] of [
    [[6, 6, 2, 6, 2, 2], 10, [[6], [6, 2], [6, 2, 2]]],
    [[5, 5], 10, [[5, 5]]],
    [[1, 11, 1], 10, [[11], [1, 1]]],
    [[11], 10, [[11]]],
    [[], 10, []],
    [[0, 0, 10, 0], 10, [[0, 0, 10, 0]]],
  ] as const) {
    it(`of ${JSON.stringify(sizes)} bytes, at most ${most} each`, () => {
      assert.deepEqual(split(sizes, most), expected);
    });
  }

  it("loses none, and fills none too far", () => {
    const sizes = fc.array(fc.nat(20), { maxLength: 40 });
    const property = fc.property(sizes, fc.integer({ min: 1, max: 25 }), (sizes, most) => {
      const shards = split(sizes, most);
      assert.deepEqual(shards.flat().sort(), [...sizes].sort());
      for (const shard of shards) {
        assert.ok(shard.length > 0);
        assert.ok(shard.length === 1 || shard.reduce((sum, size) => sum + size, 0) <= most);
      }
    });
    fc.assert(property, { seed: 42, numRuns: 300 });
  });
});

describe("a size", () => {
  for (const [text, size] of [
    ["5GB", 5e9],
    ["1.5 gb", 1.5e9],
    ["500MB", 5e8],
    ["7kb", 7000],
    ["12", 12],
    ["2TB", 2e12],
    ["10B", 10],
  ] as const) {
    it(`may be ${text}`, () => assert.equal(parseSize(text), size));
  }
  for (const text of ["", "GB", "-1GB", "1GiB", "0", "1e3", "1 2GB", "99999999999TB"]) {
    it(`cannot be ${JSON.stringify(text)}`, () =>
      assert.throws(() => parseSize(text), raises("OUT_OF_RANGE", /size/)));
  }
});

describe("the name of a file in a set", () => {
  it("has its number, unless it is the only one", () => {
    assert.equal(shardName("model", "safetensors", 1, 1), "model.safetensors");
    assert.equal(shardName("model", "safetensors", 2, 12), "model-00002-of-00012.safetensors");
    assert.equal(shardName("model", "safetensors", 123456, 123456), "model-123456-of-123456.safetensors");
  });
});

describe("splitting tightly", () => {
  it("needs fewer files than in order", () => {
    const sizes = [6, 6, 2, 6, 2, 2].map((size, index) => [`t${index}`, size] as const);
    assert.deepEqual(splitTightly(sizes, 10), [["t0", "t2", "t4"], ["t1", "t5"], ["t3"]]);
    assert.deepEqual(
      splitTightly(
        [
          ["big", 11],
          ["a", 1],
        ],
        10,
      ),
      [["big"], ["a"]],
    );
  });

  it("loses none, fills none too far, and never needs more than in order", () => {
    const sizes = fc.array(fc.nat(20), { maxLength: 40 });
    const property = fc.property(sizes, fc.integer({ min: 20, max: 50 }), (sizes, most) => {
      const named = sizes.map((size, index) => [String(index), size] as const);
      const shards = splitTightly(named, most);
      assert.deepEqual(shards.flat().sort(), named.map(([name]) => name).sort());
      for (const shard of shards) {
        assert.ok(shard.reduce((sum, name) => sum + sizes[Number(name)]!, 0) <= most);
        assert.deepEqual(
          shard,
          shard.toSorted((a, b) => Number(a) - Number(b)),
        );
      }
      assert.ok(shards.length <= Math.ceil((11 / 9) * splitGreedily(named, most).length + 6 / 9));
    });
    fc.assert(property, { seed: 42, numRuns: 300 });
  });
});

describe("splitting into a number of files", () => {
  it("makes the largest as small as can be", () => {
    const sizes = fc.array(fc.nat(9), { minLength: 1, maxLength: 7 });
    const property = fc.property(sizes, fc.integer({ min: 1, max: 8 }), (sizes, count) => {
      const files = splitEvenly(
        sizes.map((size, index) => [String(index), size] as const),
        count,
      );
      assert.equal(files.length, Math.min(count, sizes.length));
      assert.deepEqual(
        files.flat(),
        sizes.map((_, index) => String(index)),
      );
      const largest = Math.max(
        ...files.map((names) => names.reduce((sum, name) => sum + sizes[Number(name)]!, 0)),
      );
      assert.equal(largest, smallestLargest(sizes, count));
    });
    fc.assert(property, { seed: 42, numRuns: 300 });
  });

  it("refuses a number that is none", () => {
    for (const count of [0, -1, 1.5, Number.NaN])
      assert.throws(() => splitEvenly([["a", 1]], count), raises("OUT_OF_RANGE", /no number of files/));
  });
});

/** By trying all ways to cut. */
function smallestLargest(sizes: readonly number[], count: number): number {
  if (count === 1 || sizes.length <= 1) return sizes.reduce((sum, size) => sum + size, 0);
  let best = Number.POSITIVE_INFINITY;
  for (let cut = 1, first = 0; cut <= sizes.length; cut++) {
    first += sizes[cut - 1]!;
    best = Math.min(best, Math.max(first, smallestLargest(sizes.slice(cut), count - 1)));
  }
  return best;
}

describe("splitting by layer", () => {
  it("puts what has no number first, then the layers by number", () => {
    const names = [
      "lm_head.weight",
      "model.layers.10.w",
      "model.layers.2.experts.7.w",
      "model.layers.2.w",
      "model.embed.weight",
      "visual.blocks.0.w",
      "w1.weight",
    ];
    assert.deepEqual(splitByLayer(names.map((name) => [name, 1])), [
      ["lm_head.weight", "model.embed.weight", "w1.weight"],
      ["model.layers.2.experts.7.w", "model.layers.2.w"],
      ["model.layers.10.w"],
      ["visual.blocks.0.w"],
    ]);
  });

  it("takes no long time for long names", () => {
    const name = "a.".repeat(100_000);
    assert.deepEqual(splitByLayer([[name, 1]]), [[name]]);
  });
});
