import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CutMap, type CutRules, parseCuts } from "../../src/consolidate/cuts.ts";
import { openRanks, type RanksOptions } from "../../src/consolidate/open-ranks.ts";
import { elementCount } from "../../src/dtype/dtype.ts";
import { CountedStore } from "../checkpoint/counted-store.ts";
import { type HandMade, handMade, noise, raises } from "../support.ts";
import { bytesOfBox } from "./random-cuts.ts";
import { type Files, reportOf, withRanks } from "./stores.ts";

const tensor = (shape: readonly number[], data: Uint8Array | number = 1): HandMade => {
  return { dtype: "U8", shape, data: typeof data === "number" ? noise(elementCount(shape), data) : data };
};

const ranks = (...files: readonly Record<string, HandMade>[]): Files =>
  Object.fromEntries(files.map((tensors, i) => [`rank${i}.safetensors`, handMade(tensors)]));

/** The tensor "w" of these ranks, put together. */
const joined = (files: Files, options: RanksOptions): Promise<{ shape: number[]; bytes: number[] }> =>
  withRanks(files, options, async ({ checkpoint }) => {
    const w = checkpoint.get("w");
    return { shape: [...w.shape], bytes: [...(await w.bytes())] };
  });

describe("rules for cuts", () => {
  it("are read from JSON", () => {
    const rules = {
      "a.*": 0,
      b: -1,
      c: "replicated",
      "d.*.e": { axis: 0, blocks: 2 },
      f: { axis: 1, blocks: [4, 1, 1] },
    };
    assert.deepEqual([...parseCuts(JSON.stringify(rules))], Object.entries(rules));
    assert.throws(() => parseCuts("{"), raises("INVALID_JSON", /the rules are not JSON/));
    for (const text of ["[]", "null", "3"]) assert.throws(() => parseCuts(text), raises("INVALID_SLICE"));
    const wrong = [
      "1.5",
      '"whole"',
      "null",
      "true",
      "[0]",
      '{"axis":0}',
      '{"axis":"0","blocks":2}',
      '{"axis":0,"blocks":0}',
    ];
    for (const rule of [
      ...wrong,
      '{"axis":0,"blocks":[]}',
      '{"axis":0,"blocks":[1,-1]}',
      '{"axis":0,"blocks":1e9}',
    ]) {
      assert.throws(
        () => parseCuts(`{"a.b": ${rule}}`),
        raises("INVALID_SLICE", /the rule for "a.b" is/),
        rule,
      );
    }
  });

  it("are found by name: the very name first, then patterns, where a star is one part", () => {
    const map = new CutMap({ "layers.*.w": 0, "layers.*.*": 0, "layers.3.w": 1, "x.*": "replicated", w: 1 });
    assert.equal(map.find("layers.10.w"), 0);
    assert.equal(map.find("layers.3.w"), 1);
    for (const name of ["layers.w", "layers.1.2.w", "a.layers.1.w", "", "x"])
      assert.equal(map.find(name), undefined);
    assert.deepEqual(map.unused, ["x.*", "w"]);
    const twofold = new CutMap([
      ["*.w", 0],
      ["a.*", 1],
    ]);
    assert.throws(
      () => twofold.find("a.w"),
      raises("AMBIGUOUS", /"\*\.w" and "a\.\*" say different things of tensor "a\.w"/),
    );
    assert.equal(twofold.find("b.w"), 0);
  });

  it("join parts of any sizes along their axis", async () => {
    const sizes = fc.array(fc.nat(4), { minLength: 1, maxLength: 4 });
    const shapes = fc.array(fc.nat(4), { minLength: 1, maxLength: 3 });
    const property = fc.asyncProperty(
      shapes,
      sizes,
      fc.nat(2),
      fc.boolean(),
      async (other, parts, where, negative) => {
        const axis = where % other.length;
        const shape = other.with(
          axis,
          parts.reduce((sum, size) => sum + size, 0),
        );
        const data = noise(elementCount(shape), 5);
        let begin = 0;
        const files = parts.map((size) => {
          const box = { at: shape.map((_, i) => (i === axis ? begin : 0)), shape: shape.with(axis, size) };
          begin += size;
          return { w: tensor(box.shape, bytesOfBox(data, shape, box, 1)) };
        });
        const cuts = { w: negative ? axis - shape.length : axis };
        assert.deepEqual(await joined(ranks(...files), { cuts }), { shape, bytes: [...data] });
      },
    );
    await fc.assert(property, { seed: 42, numRuns: 60 });
  });

  it("join several matrices in one, each on its own", async () => {
    const files = ranks(
      { w: tensor([4], Uint8Array.of(1, 2, 11, 21)) },
      { w: tensor([4], Uint8Array.of(3, 4, 12, 22)) },
    );
    const bytes = async (blocks: number | number[]): Promise<number[]> =>
      (await joined(files, { cuts: { w: { axis: 0, blocks } } })).bytes;
    assert.deepEqual(await bytes([2, 1, 1]), [1, 2, 3, 4, 11, 12, 21, 22]);
    assert.deepEqual(await bytes(2), [1, 2, 3, 4, 11, 21, 12, 22]);
    assert.deepEqual(await bytes(1), [1, 2, 11, 21, 3, 4, 12, 22]);
    await assert.rejects(
      bytes(3),
      raises("INDEX_MISMATCH", /the 4 indices of axis 0 in "rank0.safetensors" .* 1 : 1 : 1/),
    );
    const second = ranks(
      { w: tensor([2, 2], Uint8Array.of(1, 11, 2, 12)) },
      { w: tensor([2, 2], Uint8Array.of(3, 13, 4, 14)) },
    );
    const { bytes: rows } = await joined(second, { cuts: { w: { axis: 1, blocks: 2 } } });
    assert.deepEqual(rows, [1, 3, 11, 13, 2, 4, 12, 14]);
  });

  it("that cannot be applied are an error", async () => {
    const two = ranks({ w: tensor([2, 2]) }, { w: tensor([3, 2], 2) });
    const cases: [Files, CutRules, Parameters<typeof raises>[0], RegExp][] = [
      [
        two,
        { w: 1 },
        "INDEX_MISMATCH",
        /\[2,2\] in "rank0.* and \[3,2\] in "rank1.* cannot be joined along axis 1/,
      ],
      [two, { w: 2 }, "INVALID_SLICE", /of shape \[2,2\] has no axis 2/],
      [two, { w: -3 }, "INVALID_SLICE", /has no axis -3/],
      [two, { w: "replicated" }, "INDEX_MISMATCH", /should be whole in every rank/],
      [two, {}, "AMBIGUOUS", /no rule says how it is cut; give one, such as \{"w":0\}/],
      [two, { w: 0.5 }, "INVALID_SLICE", /the rule for "w" is "0.5"/],
      [
        ranks({ w: tensor([]) }, { w: tensor([], 2) }),
        { w: 0 },
        "INVALID_SLICE",
        /of shape \[\] has no axis 0/,
      ],
      [
        ranks({ w: tensor([2]) }, { w: { ...tensor([2]), dtype: "I8" } }),
        { w: 0 },
        "INDEX_MISMATCH",
        /but I8/,
      ],
      [
        ranks({ "a.3.w": tensor([2]) }, { "a.3.w": tensor([2], 2) }),
        {},
        "AMBIGUOUS",
        /such as \{"a\.\*\.w":0\}/,
      ],
      [
        ranks({ w: tensor([2]) }, { w: tensor([2], 2) }, { v: tensor([2]) }),
        { w: 0 },
        "INDEX_MISMATCH",
        /in 2 of 3 ranks/,
      ],
    ];
    for (const [files, cuts, code, message] of cases) {
      await assert.rejects(reportOf(files, { cuts }), raises(code, message));
    }
  });

  it("are not needed for what is the same in all ranks, or in one of them only", async () => {
    const files = ranks({ same: tensor([4]), a: tensor([2]) }, { same: tensor([4]), b: tensor([3]) });
    const report = await reportOf(files, { cuts: { "x.*": 0 } });
    assert.deepEqual(report.tensors, { cut: 0, replicated: 1, whole: 2 });
    assert.deepEqual(report.unusedRules, ["x.*"]);
    assert.equal(report.comparedBytes, 8);
    // Only what a rule says is whole in every rank can be trusted to be the same.
    const different = ranks({ w: tensor([4]) }, { w: tensor([4], 2) });
    await assert.rejects(reportOf(different, { trust: true }), raises("AMBIGUOUS"));
    assert.equal((await reportOf(different, { trust: true, cuts: { w: "replicated" } })).comparedBytes, 0);
  });

  it("keep of the metadata what all files say", async () => {
    const files = {
      "rank0.safetensors": handMade({ w: tensor([1]) }, { format: "pt", rank: "0", first: "x" }),
      "rank1.safetensors": handMade({ w: tensor([1]) }, { format: "pt", rank: "1" }),
    };
    const metadata = await withRanks(files, {}, ({ checkpoint }) => [...checkpoint.metadata]);
    assert.deepEqual(metadata, [["format", "pt"]]);
  });

  it("need files to be applied to", async () => {
    await assert.rejects(
      reportOf({ "model.safetensors": handMade({}) }),
      raises("NOT_FOUND", /holds no files of ranks/),
    );
    await assert.rejects(reportOf({ "config.json": new Uint8Array(2) }), raises("NOT_FOUND"));
    await assert.rejects(reportOf(ranks({}), { kind: "vllm" }), raises("NOT_FOUND"));
    const store = new CountedStore(ranks({ w: tensor([1]) }, { w: tensor([1]) }));
    await assert.rejects(openRanks(store), raises("UNSUPPORTED", /the store cannot list its files/));
    await using opened = (await openRanks(store, { files: [...store.files.keys()] })).checkpoint;
    assert.equal(opened.size, 1);
    const damaged = { ...ranks({ w: tensor([1]) }), "rank1.safetensors": Uint8Array.of(1, 2, 3) };
    await assert.rejects(
      reportOf(damaged),
      raises("HEADER_TOO_SMALL", /rank1/, { file: "rank1.safetensors" }),
    );
  });

  it("go with the parts of vLLM, which are those of one rank", async () => {
    const name = (rank: number, part: number): string => `model-rank-${rank}-part-${part}.safetensors`;
    const alone = { [name(0, 0)]: handMade({ a: tensor([2]) }), [name(0, 1)]: handMade({ b: tensor([2]) }) };
    assert.deepEqual((await reportOf(alone)).tensors, { cut: 0, replicated: 0, whole: 2 });
    const twice = { ...alone, [name(0, 1)]: handMade({ a: tensor([2]) }) };
    await assert.rejects(
      reportOf(twice),
      raises("INDEX_MISMATCH", /"a": it is in both .*, of the same rank/),
    );
    const lost = { ...alone, [name(1, 0)]: handMade({ a: tensor([2]) }) };
    await assert.rejects(reportOf(lost), raises("INDEX_MISMATCH", /"b": it is in 1 of 2 ranks only/));
  });
});
