import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DTYPES, type Dtype, elementCount } from "../../src/dtype/dtype.ts";
import { type HandMade, handMade, noise, raises } from "../support.ts";
import { bytesOfBox, cutsOf } from "./random-cuts.ts";
import { type Files, placedFile, reportOf, shardName, withRanks } from "./stores.ts";

type Placed = HandMade & { at: readonly number[] };

const part = (shape: readonly number[], at: readonly number[], seed = 1, dtype = "U8"): Placed => {
  const bits = dtype === "U8" ? 8 : DTYPES[dtype as Dtype].bits;
  return { dtype, shape, at, data: noise((elementCount(shape) * bits) / 8, seed) };
};

/** One file a rank, each with the tensor "w" or what else it has. */
const ranks = (...files: readonly (Placed | Record<string, Placed>)[]): Files =>
  Object.fromEntries(
    files.map((file, i) => [shardName(i + 1), placedFile("dtype" in file ? { w: file as Placed } : file)]),
  );

/** A file with this sharding information for its tensor "w" of shape [2, 3]. */
const informed = (info: string): Files => ({
  [shardName(1)]: handMade(
    { w: { dtype: "U8", shape: [2, 3], data: noise(6) } },
    { DCP_SHARDING_INFO: info },
  ),
});

describe("PyTorch's distributed checkpoints", () => {
  it("give back what was cut at random, some parts twice", async () => {
    const dtypes = fc.constantFrom<Dtype>("F4", "BOOL", "BF16", "F32", "I64");
    const shapes = fc.array(fc.nat(6), { maxLength: 4 });
    const property = fc.asyncProperty(
      dtypes,
      shapes,
      fc.integer(),
      fc.nat(3),
      async (dtype, sizes, seed, twice) => {
        // Two elements of four bits are one of a byte here, so that they can be cut without shifting bits.
        const packed = DTYPES[dtype].bits < 8 ? 8 / DTYPES[dtype].bits : 1;
        const inBytes = packed > 1 && sizes.length === 0 ? [1] : sizes;
        const scale = (values: readonly number[]): number[] =>
          values.map((value, axis) => (axis === values.length - 1 ? value * packed : value));
        const bytes = Math.max(1, DTYPES[dtype].bits / 8);
        const data = noise(elementCount(inBytes) * bytes, seed);
        const boxes = cutsOf(inBytes, 8, seed);
        const placed = [...boxes, ...boxes.slice(0, twice)].map((box) => ({
          dtype,
          shape: scale(box.shape),
          at: scale(box.at),
          data: bytesOfBox(data, inBytes, box, bytes),
        }));
        await withRanks(ranks(...placed), {}, async ({ checkpoint }) => {
          const tensor = checkpoint.get("w");
          assert.equal(tensor.dtype, dtype);
          assert.deepEqual(tensor.shape, scale(inBytes));
          assert.deepEqual(Buffer.from(await tensor.bytes()), Buffer.from(data));
        });
      },
    );
    await fc.assert(property, { seed: 42, numRuns: 60 });
  });

  it("name what is missing, and what is there twice", async () => {
    const cases: [Files, RegExp][] = [
      [
        ranks(part([2, 3], [0, 0]), part([2, 3], [4, 0])),
        /"w": no file has \[2:4, 0:3\] of its shape \[6,3\]/,
      ],
      [ranks(part([1, 2], [0, 0]), part([1, 2], [1, 2])), /no file has \[0:1, 2:4\]/],
      [ranks(part([1], [2 ** 50])), /no file has \[0:1125899906842624\]/],
      [
        ranks(part([4], [0]), part([4], [2])),
        /\[0:4\] of "shard-00001.* and \[2:6\] of "shard-00002.* overlap/,
      ],
      [ranks(part([4], [0]), part([2], [0])), /\[0:4\] .* and \[0:2\] .* overlap/],
      [ranks(part([4], [0]), part([4], [0], 2)), /not the same in "shard-00001.*" and "shard-00002/],
      [ranks(part([2], [0]), part([2], [2], 1, "I8")), /U8 \[2\] in .*, but I8 \[2\] in/],
      [ranks(part([2], [0]), part([2, 1], [2, 0])), /U8 \[2\] in .*, but U8 \[2,1\] in/],
    ];
    for (const [files, message] of cases) {
      await assert.rejects(reportOf(files), raises("INDEX_MISMATCH", message, { tensor: "w" }));
    }
  });

  it("count tensors, and compare those that are in several files unless they are trusted", async () => {
    const files = ranks(
      { cut: part([2], [0]), same: part([5], [0]), alone: part([], []) },
      { cut: part([2], [2]), same: part([5], [0]), none: part([0, 4], [0, 0]) },
    );
    const tensors = { cut: 1, replicated: 1, whole: 2 };
    const report = await reportOf(files);
    assert.deepEqual([report.tensors, report.comparedBytes, report.ranks], [tensors, 10, 2]);
    const trusted = await reportOf(files, { trust: true });
    assert.deepEqual([trusted.tensors, trusted.comparedBytes], [tensors, 0]);
    const different = ranks(part([4], [0]), part([4], [0], 2));
    assert.equal((await reportOf(different, { trust: true })).tensors.replicated, 1);
  });

  it("refuse sharding information that is not what PyTorch writes", async () => {
    const cases: [string, Parameters<typeof raises>[0], RegExp][] = [
      ["", "INVALID_INDEX", /expected the text to be an object/],
      ["[]", "INVALID_INDEX", /to be an object/],
      ["{}", "INVALID_INDEX", /tensor "w" is missing/],
      ['{"w":{}}', "INVALID_INDEX", /"w" has no saved_offsets/],
      ['{"w":[0,0]}', "INVALID_INDEX", /what is said of tensor "w" to be an object/],
      ['{"w":{"saved_offsets":[0]}}', "INVALID_INDEX", /not 2 numbers/],
      ['{"w":{"saved_offsets":[0,0,0]}}', "INVALID_INDEX", /not 2 numbers/],
      ['{"w":{"saved_offsets":[0,-1]}}', "INVALID_INDEX", /whole number/],
      ['{"w":{"saved_offsets":[0,1.5]}}', "INVALID_INDEX", /whole number/],
      ['{"w":{"saved_offsets":[0,"1"]}}', "INVALID_INDEX", /whole number/],
      ['{"w":{"saved_offsets":[0,0],"saved_offsets":[0,0]}}', "INVALID_INDEX", /twice/],
      ['{"w":{"saved_offsets":[0,0]},"w":{"saved_offsets":[0,0]}}', "INVALID_INDEX", /"w" appears twice/],
      ['{"w":{"saved_offsets":[0,0]}} x', "INVALID_INDEX", /white space/],
      [
        '{"w":{"saved_offsets":[0,0]},"__proto__":{}}',
        "INDEX_MISMATCH",
        /"__proto__", which it does not have/,
      ],
      ['{"w":{"saved_offsets":[0,9007199254740992]}}', "UNSAFE_INTEGER", /above 2\^53 - 1/],
      ['{"w":{"saved_offsets":[0,9007199254740991]}}', "SIZE_OVERFLOW", /more than can be counted/],
      ['{"w":{"saved_offsets":[94906266,94906266]}}', "SIZE_OVERFLOW", /\[94906268,94906269\]/],
      [`{"w":{"x":${"[".repeat(200)}`, "INVALID_INDEX", /levels of nesting/],
    ];
    for (const [info, code, message] of cases) {
      await assert.rejects(reportOf(informed(info)), raises(code, message), info);
    }
    const more = '{"w":{"of_the_future":{"a":[1]},"saved_offsets":[0,0]}}';
    assert.equal((await reportOf(informed(more))).tensors.whole, 1);
  });

  it("refuse a file without sharding information among the others", async () => {
    const files = { ...ranks(part([2], [0])), [shardName(2)]: handMade({ w: part([2], [2]) }) };
    await assert.rejects(
      reportOf(files),
      raises("INVALID_INDEX", /^INVALID_INDEX: shard-00002.*has no DCP_SHARDING_INFO/),
    );
  });

  it("read nothing but headers, and stop when they are told to", async () => {
    await withRanks(ranks(part([2], [0]), part([2], [2], 2)), {}, async ({ checkpoint }) => {
      const { view } = checkpoint.get("w");
      assert.ok("pieces" in view && view.pieces.length === 2);
    });
    const files = ranks(part([1 << 21], [0]), part([1 << 21], [0]));
    const stop = new AbortController();
    const seen: number[] = [];
    const onProgress = (done: number): void => {
      seen.push(done);
      stop.abort();
    };
    await assert.rejects(reportOf(files, { signal: stop.signal, onProgress }), { name: "AbortError" });
    assert.deepEqual(seen, [2 << 20]);
  });
});
