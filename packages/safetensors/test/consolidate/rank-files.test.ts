import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { findRankFiles, type RankChoice } from "../../src/consolidate/rank-files.ts";
import { raises } from "../support.ts";
import { shardName } from "./stores.ts";

const find = (names: readonly string[], choice?: RankChoice): [string, ...string[]] | undefined => {
  const found = findRankFiles(names, "the folder", choice);
  return found && [found.kind, ...found.files.map(({ file }) => file)];
};

describe("files of ranks", () => {
  it("are known by their names, whatever else is there, in the order of their numbers", () => {
    const others = ["config.json", "model.safetensors.index.json", "tokenizer.json", "model.safetensors"];
    const cases: [string, string[]][] = [
      ["dcp", [shardName(1, 1, 2), shardName(1, 2, 2), shardName(2, 2, 2)]],
      ["deepseek", ["model0-mp3.safetensors", "model1-mp3.safetensors", "model2-mp3.safetensors"]],
      [
        "vllm",
        [
          "model-rank-0-part-0.safetensors",
          "model-rank-0-part-1.safetensors",
          "model-rank-1-part-0.safetensors",
        ],
      ],
      ["ranks", ["rank0.safetensors"]],
      ["ranks", ["tp_rank_00.safetensors", "tp_rank_01.safetensors"]],
      ["ranks", ["consolidated.00.safetensors", "consolidated.01.safetensors"]],
      ["ranks", ["model_1.safetensors", "model_2.safetensors"]],
      ["ranks", Array.from({ length: 11 }, (_, i) => `Rank-${i}.safetensors`)],
    ];
    for (const [kind, files] of cases) {
      assert.deepEqual(find([...others, ...files].reverse()), [kind, ...files]);
      assert.deepEqual(find(files, { kind: kind as "dcp" }), [kind, ...files]);
    }
  });

  it("are not those of an ordinary checkpoint, unless somebody says so", () => {
    const ordinary = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    assert.equal(find(ordinary), undefined);
    assert.equal(find(["model.safetensors"]), undefined);
    assert.equal(find(["model1.safetensors"]), undefined);
    assert.equal(find(ordinary, { kind: "vllm" }), undefined);
    assert.deepEqual(find(ordinary, { kind: "ranks" }), ["ranks", ...ordinary]);
  });

  it("must all be there", () => {
    const cases: [string[], RegExp][] = [
      [["rank0.safetensors", "rank2.safetensors"], /"rank\*.safetensors", rank 1 is missing/],
      [["rank2.safetensors", "rank3.safetensors"], /rank 0 is missing/],
      [["model1-mp2.safetensors"], /rank 0 is missing/],
      [["model0-mp2.safetensors"], /there are 1 files "model\*-mp2.safetensors", but their names say 2/],
      [["rank1.safetensors", "rank01.safetensors"], /have the same number/],
      [
        ["model-rank-0-part-1.safetensors"],
        /"model-rank-\*-part-\*.safetensors", part 0 of rank 0 is missing/,
      ],
      [["model-rank-0-part-0.safetensors", "model-rank-0-part-2.safetensors"], /part 1 of rank 0/],
      [["model-rank-1-part-0.safetensors"], /rank 0 is missing/],
      [[shardName(1), shardName(3)], /rank 2 is missing/],
      [[shardName(2)], /rank 1 is missing/],
    ];
    for (const [names, message] of cases) {
      assert.throws(() => find(names), raises("INDEX_MISMATCH", message));
    }
    const gap = [shardName(1), shardName(3)];
    assert.deepEqual(find(gap, { allowGaps: true }), ["dcp", ...gap]);
    assert.throws(
      () => find(["rank0.safetensors", "rank2.safetensors"], { allowGaps: true }),
      raises("INDEX_MISMATCH"),
    );
  });

  it("must be of one set", () => {
    const two = ["model0-mp1.safetensors", "model0-mp2.safetensors", "model1-mp2.safetensors"];
    const message =
      /the folder holds several sets of files: "model\*-mp1.safetensors", "model\*-mp2.safetensors"/;
    assert.throws(() => find(two), raises("AMBIGUOUS", message));
    const mixed = ["model0-mp1.safetensors", "model-rank-0-part-0.safetensors"];
    assert.throws(() => find(mixed), raises("AMBIGUOUS"));
    assert.deepEqual(find(mixed, { kind: "vllm" }), ["vllm", mixed[1]]);
    assert.throws(() => find(["../rank0.safetensors"]), raises("UNSAFE_FILE_NAME"));
  });
});
