import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { parseSize, shardName, splitGreedily } from "../../src/save/split.ts";
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
