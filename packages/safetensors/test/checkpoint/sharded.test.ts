import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { open } from "../../src/checkpoint/open.ts";
import { selectTensors } from "../../src/checkpoint/select.ts";
import { joinShards } from "../../src/checkpoint/sharded.ts";
import type { ReadMode } from "../../src/format/mode.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { fileAround, type HandMade, handMade, noise, raises } from "../support.ts";

const tensor = (seed: number): HandMade => ({ dtype: "U8", shape: [4], data: noise(4, seed) });
const MODES: readonly ReadMode[] = ["strict", "compat", "lenient"];

/** Opened files, each with tensors of the given names; the tensor number i of file number f has the noise of 10 f + i. */
async function shardsOf(
  files: Readonly<Record<string, readonly string[]>>,
): Promise<Map<string, Checkpoint>> {
  const shards = new Map<string, Checkpoint>();
  for (const [f, [file, names]] of Object.entries(files).entries()) {
    const tensors = names.map((name, i) => [name, tensor(10 * f + i)] as const);
    shards.set(
      file,
      await open(handMade(Object.fromEntries(tensors), { [`in ${file}`]: "x", common: file })),
    );
  }
  return shards;
}

describe("joinShards", () => {
  it("joins files with an index, in the order of the files", async () => {
    const shards = await shardsOf({ f1: ["c", "a"], f2: ["b"] });
    const map = new Map([
      ["a", "f1"],
      ["b", "f2"],
      ["c", "f1"],
    ]);
    for (const mode of MODES) {
      const joined = joinShards(shards, map, mode);
      assert.equal(joined.format, "safetensors");
      assert.deepEqual([...joined.keys()], ["c", "a", "b"]);
      assert.equal(joined.size, 3);
      assert.deepEqual(joined.problems, []);
      assert.deepEqual(new Uint8Array(await joined.get("c").bytes()), noise(4, 0));
      assert.deepEqual(new Uint8Array(await joined.get("a").bytes()), noise(4, 1));
      assert.deepEqual(new Uint8Array(await joined.get("b").bytes()), noise(4, 10));
      assert.ok(!joined.has("d") && !joined.has("__proto__"));
      assert.throws(() => joined.get("d"), raises("TENSOR_NOT_FOUND"));
    }
  });

  it("knows tensors that are given in parts, or left out, by their names in the file and the index", async () => {
    const shard = async (names: readonly string[], renamed: Readonly<Record<string, readonly string[]>>) => {
      const whole = (await shardsOf({ file: names })).get("file")!;
      const tensors = {
        size: names.length,
        names: () => names,
        find: (name: string) => (whole.has(name) ? whole.get(name).view : undefined),
      };
      return new Checkpoint({ format: "torch", tensors, renamed: new Map(Object.entries(renamed)) });
    };
    const shards = new Map([
      ["f1", await shard(["q.real", "q.imag", "a"], { q: ["q.real", "q.imag"] })],
      ["f2", await shard(["b"], { meta: [] })],
    ]);
    const map = new Map([
      ["q", "f1"],
      ["a", "f1"],
      ["b", "f2"],
      ["meta", "f2"],
    ]);
    for (const joined of [joinShards(shards), ...MODES.map((mode) => joinShards(shards, map, mode))]) {
      assert.deepEqual(Object.fromEntries(joined.renamed), { q: ["q.real", "q.imag"], meta: [] });
      assert.deepEqual([...selectTensors(joined, ["q.imag"]).renamed.get("q")!], ["q.imag"]);
      assert.deepEqual([...joined.keys()], ["q.real", "q.imag", "a", "b"]);
      assert.deepEqual(joined.problems, []);
    }
    // What was left out may be no tensor, and in two files.
    const values = new Map([...shards, ["f4", await shard([], { meta: [], args: [] })]]);
    assert.equal(joinShards(values, map).size, 4);
    assert.equal(joinShards(values).size, 4);
    const more = new Map([...map, ["c", "f2"]]);
    const missing = raises("INDEX_MISMATCH", /places tensor "c" in f2, which does not have it/);
    assert.throws(() => joinShards(values, more), missing);
    const elsewhere = new Map([...map, ["q", "f2"]]);
    const misplaced = raises("INDEX_MISMATCH", /tensor "q" is in f1, but the index places it in f2/);
    assert.throws(() => joinShards(shards, elsewhere), misplaced);
    map.delete("q");
    assert.throws(
      () => joinShards(shards, map),
      raises("INDEX_MISMATCH", /tensor "q" of f1 is not in the index/),
    );
    assert.deepEqual([...joinShards(shards, map, "compat").keys()], ["a", "b"]);
    const twice = new Map([...shards, ["f3", await shard(["q.imag"], {})]]);
    const both = raises("INDEX_MISMATCH", /tensor "q\.imag" is in both f1 and f3/);
    assert.throws(() => joinShards(twice), both);
    const named = new Map([...map, ["q", "f1"], ["q.imag", "f3"]]);
    for (const mode of ["strict", "compat"] as const)
      assert.throws(() => joinShards(twice, named, mode), both);
  });

  it("joins files without an index", async () => {
    const joined = joinShards(await shardsOf({ f1: ["a"], f2: ["b", "c"], f3: [] }));
    assert.deepEqual([...joined.keys()], ["a", "b", "c"]);
    assert.deepEqual(new Uint8Array(await joined.get("c").bytes()), noise(4, 11));
  });

  it("merges metadata: of two files that disagree, the first counts", async () => {
    const { metadata } = joinShards(await shardsOf({ f1: [], f2: [] }));
    assert.deepEqual(Object.fromEntries(metadata), { "in f1": "x", common: "f1", "in f2": "x" });
  });

  it("refuses a tensor that the index places in a file without it", async () => {
    const shards = await shardsOf({ f1: ["a"] });
    const map = new Map([
      ["a", "f1"],
      ["b", "f1"],
    ]);
    const expected = raises("INDEX_MISMATCH", /places tensor "b" in f1, which does not have it/, {
      tensor: "b",
      file: "f1",
    });
    assert.throws(() => joinShards(shards, map), expected);
    assert.throws(() => joinShards(shards, map, "compat"), expected);
    const joined = joinShards(shards, map, "lenient");
    assert.deepEqual([...joined.keys()], ["a"]);
    assert.equal(joined.problems.length, 1);
    expected(joined.problems[0]);
  });

  it("refuses a tensor that the index does not name; compat mode passes over it", async () => {
    const shards = await shardsOf({ f1: ["a", "more"] });
    const map = new Map([["a", "f1"]]);
    const expected = raises("INDEX_MISMATCH", /"more" of f1 is not in the index/, {
      tensor: "more",
      file: "f1",
    });
    assert.throws(() => joinShards(shards, map), expected);
    const compat = joinShards(shards, map, "compat");
    assert.deepEqual([[...compat.keys()], compat.problems], [["a"], []]);
    assert.ok(!compat.has("more"));
    const lenient = joinShards(shards, map, "lenient");
    assert.deepEqual([...lenient.keys()], ["a", "more"]);
    expected(lenient.problems[0]);
  });

  it("refuses a tensor in another file than the index says, with the truth about where it is", async () => {
    const shards = await shardsOf({ f1: ["a"], f2: ["b"] });
    const map = new Map([
      ["a", "f2"],
      ["b", "f2"],
    ]);
    const expected = raises("INDEX_MISMATCH", /"a" is in f1, but the index places it in f2/, {
      tensor: "a",
      file: "f1",
    });
    assert.throws(() => joinShards(shards, map), expected);
    assert.throws(
      () => joinShards(shards, map, "compat"),
      raises("INDEX_MISMATCH", /which does not have it/),
    );
    const lenient = joinShards(shards, map, "lenient");
    expected(lenient.problems[0]);
    raises("INDEX_MISMATCH", /which does not have it/)(lenient.problems[1]);
  });

  it("refuses a tensor in two files; else the index decides, or the first file", async () => {
    const shards = await shardsOf({ f1: ["a"], f2: ["a"] });
    for (const [map, owner] of [
      [undefined, 0],
      [new Map([["a", "f1"]]), 0],
      [new Map([["a", "f2"]]), 10],
    ] as const) {
      assert.throws(() => joinShards(shards, map), raises("INDEX_MISMATCH", /"a"/, { tensor: "a" }));
      for (const mode of ["compat", "lenient"] as const) {
        const joined = joinShards(shards, map, mode);
        assert.deepEqual([...joined.keys()], ["a"]);
        assert.deepEqual(new Uint8Array(await joined.get("a").bytes()), noise(4, owner));
        assert.equal(joined.problems.length, mode === "lenient" ? 1 : 0);
      }
    }
    assert.throws(
      () => joinShards(shards),
      raises("INDEX_MISMATCH", /"a" is in both f1 and f2/, { file: "f2" }),
    );
  });

  it("passes on the problems of the files", async () => {
    const bad = await open(fileAround("{}", new Uint8Array(3)), { mode: "lenient" });
    const joined = joinShards(new Map([["f", bad]]), undefined, "lenient");
    assert.deepEqual(
      joined.problems.map(({ code }) => code),
      ["TRAILING_BYTES"],
    );
  });

  it("may have dangerous names", async () => {
    const entry = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}';
    const shards = new Map([["f", await open(fileAround(`{"__proto__":${entry}}`, Uint8Array.of(5)))]]);
    const joined = joinShards(shards, new Map([["__proto__", "f"]]));
    assert.deepEqual([...(await joined.get("__proto__").bytes())], [5]);
    assert.ok(!joined.has("constructor"));
  });

  it("closes all files", async () => {
    const closed: string[] = [];
    const shards = new Map<string, Checkpoint>();
    for (const file of ["f1", "f2"]) {
      const source = { ...fromBytes(handMade({ [file]: tensor(1) })), close: () => void closed.push(file) };
      shards.set(file, await open(source));
    }
    await joinShards(shards).close();
    assert.deepEqual(closed.sort(), ["f1", "f2"]);
  });

  it("names the formats that it was made from", async () => {
    const [shard] = (await shardsOf({ f: [] })).values();
    const torch = {
      ...shard,
      format: "torch",
      keys: () => [],
      metadata: new Map(),
      problems: [],
    } as unknown as Checkpoint;
    const joined = joinShards(
      new Map([
        ["a", shard!],
        ["b", torch],
        ["c", shard!],
      ]),
    );
    assert.equal(joined.format, "safetensors+torch");
  });
});
