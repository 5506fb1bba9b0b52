import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { openStore, openStoreFiles } from "../../src/checkpoint/open-store.ts";
import { SafetensorsError } from "../../src/errors.ts";
import type { ReadMode } from "../../src/format/mode.ts";
import { fromBytes } from "../../src/source/memory.ts";
import type { ByteSource } from "../../src/source/source.ts";
import type { FileStore } from "../../src/source/store.ts";
import { torchReader } from "../../src/torch/index.ts";
import { fixture } from "../fixtures.ts";
import { raises } from "../support.ts";
import { CountedStore, dataOf, indexOf, ListedStore, shard } from "./counted-store.ts";

const INDEX = "model.safetensors.index.json";

async function checkData(checkpoint: Checkpoint, names: readonly string[]): Promise<void> {
  assert.deepEqual([...checkpoint.keys()], names);
  for (const name of names) assert.deepEqual(await checkpoint.get(name).bytes(), dataOf(name));
}

/** An index with `count` files, each with one tensor: `t7` in `f0007`. */
function manyFiles(count: number): Record<string, Uint8Array> {
  const file = (i: number): string => `f${String(i).padStart(4, "0")}`;
  const numbers = Array.from({ length: count }, (_, i) => i);
  return {
    ...Object.fromEntries(numbers.map((i) => [file(i), shard(`t${i}`)])),
    [INDEX]: indexOf(Object.fromEntries(numbers.map((i) => [`t${i}`, file(i)]))),
  };
}

describe("openStore", () => {
  it("opens a file, an index, a numbered set and what it finds", async () => {
    const shards = {
      "model-00001-of-00002.safetensors": shard("b", "a"),
      "model-00002-of-00002.safetensors": shard("c"),
    };
    const [first, second] = Object.keys(shards) as [string, string];
    const index = { [INDEX]: indexOf({ a: first, b: first, c: second }) };
    for (const [store, file, names] of [
      [new CountedStore(shards), first, ["b", "a"]],
      [new ListedStore(shards), undefined, ["b", "a", "c"]],
      [new ListedStore({ ...shards, ...index }), undefined, ["b", "a", "c"]],
      [new CountedStore({ ...shards, ...index }), undefined, ["b", "a", "c"]],
      [new CountedStore({ ...shards, ...index }), INDEX, ["b", "a", "c"]],
      [new CountedStore({ "model.safetensors": shard("x") }), undefined, ["x"]],
    ] as const) {
      const checkpoint = await openStore(store, { file });
      await checkData(checkpoint, names);
      await checkpoint.close();
      assert.equal(store.held.size, 0);
    }
  });

  it("opens a given file once", async () => {
    const store = new CountedStore({ x: shard("a") });
    await using checkpoint = await openStore(store, { file: "x" });
    await checkData(checkpoint, ["a"]);
    assert.deepEqual(store.asked, ["x"]);
  });

  it("opens a variant", async () => {
    const store = new ListedStore({ "model.safetensors": shard("a"), "model.fp16.safetensors": shard("b") });
    await using checkpoint = await openStore(store, { variant: "fp16" });
    await checkData(checkpoint, ["b"]);
  });

  it("opens files that readers recognise", async () => {
    const torch = fixture("torch/state-dict.pt");
    const store = new ListedStore({ "pytorch_model.bin": torch });
    const checkpoint = await openStore(store, { readers: [torchReader] });
    assert.equal(checkpoint.format, "torch");
    await checkpoint.close();
    await assert.rejects(openStore(store), raises("NOT_SAFETENSORS"));
  });

  it("opens several headers at the same time, but no more than eight", async () => {
    for (const [count, most] of [
      [3, 3],
      [8, 8],
      [100, 8],
    ] as const) {
      const store = new ListedStore(manyFiles(count));
      await using checkpoint = await openStore(store);
      assert.equal(checkpoint.size, count);
      assert.equal(store.mostAtOnce, most);
      assert.equal(store.held.size, count);
      assert.equal(store.asked.length, count + 1);
    }
  });

  it("keeps the order of the files, whichever is first to open", async () => {
    const files = manyFiles(20);
    const store: FileStore = {
      name: "uneven",
      async open(file) {
        await new Promise((resolve) => setTimeout(resolve, file === "f0000" || file === "f0009" ? 20 : 0));
        return fromBytes(files[file]!, file);
      },
    };
    await checkData(
      await openStore(store, { file: INDEX }),
      Array.from({ length: 20 }, (_, i) => `t${i}`),
    );
  });

  it("gives the files apart to those who ask", async () => {
    const store = new ListedStore(manyFiles(3));
    const { files, index, whole } = await openStoreFiles(store, { names: ["t2", "t0"] });
    assert.deepEqual(
      files.map(({ file }) => file),
      ["f0000", "f0002"],
    );
    assert.deepEqual(
      files.map(({ source }) => source.name),
      ["f0000", "f0002"],
    );
    assert.deepEqual(
      files.map(({ checkpoint }) => [...checkpoint.keys()]),
      [["t0"], ["t2"]],
    );
    assert.deepEqual([index?.file, index?.files.length, index?.weightMap.size], [INDEX, 3, 3]);
    await checkData(whole, ["t0", "t2"]);
    await whole.close();
    assert.equal(store.held.size, 0);
    const { files: one, index: none } = await openStoreFiles(new CountedStore({ x: shard("a") }), {
      file: "x",
    });
    assert.deepEqual([one.length, none], [1, undefined]);
  });
});

describe("openStore with names", () => {
  const files = {
    [INDEX]: indexOf({ a: "f1", b: "f1", c: "f2", d: "f3", e: "f3" }),
    f1: shard("b", "a"),
    f2: shard("c"),
    f3: shard("d", "e"),
  };

  for (const [what, names, opened, chosen] of [
    ["one name", "d", ["f3"], ["d"]],
    ["a list", ["e", "a"], ["f1", "f3"], ["a", "e"]],
    ["a pattern", /[bc]/g, ["f1", "f2"], ["b", "c"]],
    ["a test", (name: string) => name > "c", ["f3"], ["d", "e"]],
    ["all names", ["a", "b", "c", "d", "e"], ["f1", "f2", "f3"], ["b", "a", "c", "d", "e"]],
  ] as const) {
    it(`opens only the files that are needed: ${what}`, async () => {
      for (const mode of ["strict", "compat", "lenient"] as const) {
        const store = new ListedStore(files);
        const checkpoint = await openStore(store, { names, mode });
        assert.deepEqual(store.asked, [INDEX, ...opened]);
        await checkData(checkpoint, chosen);
        for (const name of "abcde")
          assert.equal(
            checkpoint.has(name),
            chosen.some((one) => one === name),
          );
        assert.deepEqual(checkpoint.problems, []);
        await checkpoint.close();
        assert.equal(store.held.size, 0);
      }
    });
  }

  it("takes names from an iterator that can be used only once", async () => {
    const store = new ListedStore(files);
    await using checkpoint = await openStore(store, {
      names: new Map([
        ["c", 1],
        ["d", 2],
      ]).keys(),
    });
    await checkData(checkpoint, ["c", "d"]);
    assert.deepEqual(store.asked, [INDEX, "f2", "f3"]);
  });

  it("selects without an index, too", async () => {
    const store = new ListedStore({
      "x-00001-of-00002.safetensors": shard("a", "b"),
      "x-00002-of-00002.safetensors": shard("c"),
    });
    await using checkpoint = await openStore(store, { names: ["b"] });
    await checkData(checkpoint, ["b"]);
    await using single = await openStore(new CountedStore({ x: shard("a", "b") }), { file: "x", names: /a/ });
    await checkData(single, ["a"]);
  });

  it("refuses a listed name that is nowhere", async () => {
    for (const mode of ["strict", "compat", "lenient"] as const) {
      for (const names of [["nowhere"], ["a", "nowhere"], "nowhere", ["__proto__"]]) {
        const store = new ListedStore(files);
        await assert.rejects(openStore(store, { names, mode }), raises("TENSOR_NOT_FOUND", /./));
        assert.equal(store.held.size, 0);
        assert.ok(store.asked.length <= 2);
      }
    }
    const store = new CountedStore({ x: shard("a") });
    await assert.rejects(openStore(store, { file: "x", names: ["b"] }), raises("TENSOR_NOT_FOUND"));
    assert.equal(store.held.size, 0);
  });

  it("is empty where nothing is chosen", async () => {
    for (const names of [/z/, [], () => false]) {
      for (const mode of ["strict", "compat", "lenient"] as const) {
        const store = new ListedStore(files);
        const checkpoint = await openStore(store, { names, mode });
        assert.deepEqual([...checkpoint.keys()], []);
        assert.equal(checkpoint.format, "safetensors");
        assert.deepEqual(checkpoint.problems, []);
        assert.ok(store.asked.length <= 2);
        await checkpoint.close();
        assert.equal(store.held.size, 0);
      }
    }
  });

  it("closes what is open when the test of names throws", async () => {
    const error = new Error("no");
    for (const store of [new ListedStore(files), new CountedStore({ x: shard("a") })]) {
      const names = (): never => {
        throw error;
      };
      const file = store instanceof ListedStore ? undefined : "x";
      await assert.rejects(openStore(store, { file, names }), (thrown) => thrown === error);
      assert.equal(store.held.size, 0);
      await assert.rejects(openStore(store, { file, names: 5 as never }), TypeError);
      assert.equal(store.held.size, 0);
    }
  });
});

describe("openStore checks", () => {
  /** Where `f1` has a tensor that the index does not give it, and `f2` lacks one. */
  const wrong = {
    [INDEX]: indexOf({ a: "f1", b: "f2", c: "f2", d: "f3" }),
    f1: shard("a", "b"),
    f2: shard("c"),
    f3: shard("d"),
  };

  const problemsOf = async (names: string[] | undefined, mode: ReadMode): Promise<string[]> => {
    const { problems } = await openStore(new ListedStore(wrong), { names, mode });
    return problems.map(({ code, details }) => `${code} ${details.tensor} ${details.file}`);
  };

  it("all of the index without names", async () => {
    const store = new ListedStore(wrong);
    const elsewhere = raises("INDEX_MISMATCH", /"b" is in f1, but the index places it in f2/, { file: "f1" });
    await assert.rejects(openStore(store), elsewhere);
    assert.equal(store.held.size, 0);
    assert.deepEqual(await problemsOf(undefined, "lenient"), ["INDEX_MISMATCH b f1", "INDEX_MISMATCH b f2"]);
  });

  it("what it opened of the index with names", async () => {
    const store = new ListedStore(wrong);
    const lacking = raises("INDEX_MISMATCH", /places tensor "b" in f2, which does not have it/, {
      file: "f2",
    });
    for (const names of [["c"], ["b"]]) {
      await assert.rejects(openStore(store, { names }), lacking);
      await assert.rejects(openStore(store, { names, mode: "compat" }), lacking);
    }
    // Nothing is wanted from f2, but f1 has a tensor that belongs there.
    await assert.rejects(
      openStore(store, { names: ["a"] }),
      raises("INDEX_MISMATCH", /"b"/, { tensor: "b", file: "f1" }),
    );
    assert.equal(store.held.size, 0);
    await using compat = await openStore(store, { names: ["a"], mode: "compat" });
    await checkData(compat, ["a"]);
    await using elsewhere = await openStore(store, { names: ["d"] });
    await checkData(elsewhere, ["d"]);
    assert.deepEqual(await problemsOf(["a"], "lenient"), ["INDEX_MISMATCH b f1"]);
    assert.deepEqual(await problemsOf(["c"], "lenient"), ["INDEX_MISMATCH b f2"]);
    assert.deepEqual(await problemsOf(["d"], "lenient"), []);
  });

  it("that no tensor is in two files", async () => {
    const twice = { "x-00001-of-00002.safetensors": shard("a"), "x-00002-of-00002.safetensors": shard("a") };
    const store = new ListedStore(twice);
    await assert.rejects(openStore(store), raises("INDEX_MISMATCH", /"a" is in both/));
    assert.equal(store.held.size, 0);
  });
});

describe("when a file fails, openStore", () => {
  const FAILING = "f0017";
  const failures: Readonly<Record<string, readonly [bytes: Uint8Array | undefined, expected: RegExp]>> = {
    "is not there": [undefined, /^NOT_FOUND: f0017: /],
    "is cut short": [shard("t17").subarray(0, 20), /^INVALID_HEADER_LENGTH: f0017: /],
    "is something else": [new TextEncoder().encode("<html>"), /^NOT_SAFETENSORS: f0017: /],
    "lacks its tensor": [shard(), /^INDEX_MISMATCH: .*"t17" in f0017/],
  };
  for (const [what, [bytes, expected]] of Object.entries(failures)) {
    it(`names the file that ${what}, and closes the others`, async () => {
      const { [FAILING]: _, ...files } = manyFiles(60);
      const store = new ListedStore(bytes ? { ...files, [FAILING]: bytes } : files);
      await assert.rejects(openStore(store), (error: SafetensorsError) => {
        assert.match(error.message, expected);
        assert.equal(error.details.file, FAILING);
        return true;
      });
      assert.equal(store.held.size, 0);
      if (what !== "lacks its tensor") assert.ok(store.asked.length < 30, "goes on opening after a failure");
    });
  }

  it("waits for those under way, so that they are closed as well", async () => {
    const files = manyFiles(8);
    const held = new Set<string>();
    const store: FileStore = {
      name: "slow",
      async open(file): Promise<ByteSource> {
        if (file === "f0003") throw new SafetensorsError("IO", "broken");
        if (file !== INDEX) await new Promise((resolve) => setTimeout(resolve, 10));
        held.add(file);
        return { ...fromBytes(files[file]!), close: () => void held.delete(file) };
      },
    };
    await assert.rejects(openStore(store, { file: INDEX }), raises("IO", /f0003: broken/, { file: "f0003" }));
    assert.equal(held.size, 0);
  });

  it("passes on errors that are not ours as they are", async () => {
    const error = new TypeError("a bug of the store");
    const store = new ListedStore(manyFiles(20));
    store.onOpen = (file) => {
      if (file === FAILING) throw error;
    };
    await assert.rejects(openStore(store), (thrown) => thrown === error);
    assert.equal(store.held.size, 0);
  });

  it("says why it failed, not that closing failed", async () => {
    const files = manyFiles(3);
    const store: FileStore = {
      name: "bad at closing",
      open: async (file) => ({
        ...fromBytes(file === "f0002" ? files.f0002!.subarray(0, 9) : files[file]!),
        close() {
          if (file !== INDEX && file !== "f0002") throw new Error("cannot be closed");
        },
      }),
    };
    await assert.rejects(openStore(store, { file: INDEX }), raises("INVALID_HEADER_LENGTH", /f0002: /));
  });
});

describe("with a signal, openStore", () => {
  it("stops at once when it is aborted already", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    for (const store of [new ListedStore(manyFiles(3)), new CountedStore(manyFiles(3))]) {
      await assert.rejects(openStore(store, { signal }), /enough/);
      await assert.rejects(openStore(store, { signal, file: INDEX }), /enough/);
      assert.equal(store.held.size, 0);
    }
  });

  it("stops in the middle, and closes what is open", async () => {
    for (const heeds of [true, false]) {
      const controller = new AbortController();
      const store = new ListedStore(manyFiles(100));
      store.onOpen = (file) => {
        if (file === "f0020") controller.abort(new Error("enough"));
      };
      const mine: FileStore = heeds ? store : { name: "mine", open: (file) => store.open(file) };
      await assert.rejects(openStore(mine, { file: INDEX, signal: controller.signal }), /enough/);
      assert.equal(store.held.size, 0);
      assert.ok(store.asked.length < 40, `${store.asked.length} files opened`);
    }
  });
});
