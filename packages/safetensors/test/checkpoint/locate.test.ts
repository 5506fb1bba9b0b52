import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { usualNames } from "../../src/checkpoint/choose-files.ts";
import { locateFiles } from "../../src/checkpoint/locate.ts";
import { SafetensorsError } from "../../src/errors.ts";
import { MAX_INDEX_BYTES } from "../../src/limits.ts";
import type { FileStore } from "../../src/source/store.ts";
import { raises } from "../support.ts";
import { CountedStore, indexOf, ListedStore, shard } from "./counted-store.ts";

const INDEX = "model.safetensors.index.json";
const text = (content: string): Uint8Array => new TextEncoder().encode(content);

describe("in a store with a list, locateFiles", () => {
  it("opens nothing but the index, and closes it", async () => {
    const store = new ListedStore({ [INDEX]: indexOf({ b: "f2", a: "f1" }), f1: shard("a"), f2: shard("b") });
    const { files, index } = await locateFiles(store);
    assert.deepEqual(files, ["f1", "f2"]);
    assert.equal(index?.file, INDEX);
    assert.deepEqual(
      [...index.weightMap],
      [
        ["b", "f2"],
        ["a", "f1"],
      ],
    );
    assert.deepEqual(index.metadata, { total_size: 1 });
    assert.deepEqual([store.asked, store.held.size], [[INDEX], 0]);
    const one = new ListedStore({ "x.safetensors": shard("a") });
    assert.deepEqual(await locateFiles(one), { files: ["x.safetensors"] });
    assert.deepEqual(one.asked, []);
  });

  it("passes on the choice of format and variant, and its signal", async () => {
    const names = ["model.safetensors", "model.fp16.safetensors", "pytorch_model.bin"];
    const store = new ListedStore(Object.fromEntries(names.map((name) => [name, shard("a")])));
    assert.deepEqual((await locateFiles(store, { variant: "fp16" })).files, [names[1]]);
    assert.deepEqual((await locateFiles(store, { format: "torch" })).files, [names[2]]);
    await assert.rejects(locateFiles(store, { signal: AbortSignal.abort(new Error("enough")) }), /enough/);
    await assert.rejects(locateFiles(new ListedStore({})), raises("NOT_FOUND", /the store holds no/));
  });

  it("calls list as a method", async () => {
    class Mine implements FileStore {
      readonly name = "mine";
      readonly #names = ["w.safetensors"];
      async list(): Promise<readonly string[]> {
        return this.#names;
      }
      async open(): Promise<never> {
        throw new Error("not asked for");
      }
    }
    assert.deepEqual(await locateFiles(new Mine()), { files: ["w.safetensors"] });
  });
});

describe("in a store without a list, locateFiles", () => {
  it("asks for usual names, up to the first that is there", async () => {
    for (const [i, name] of usualNames({}).entries()) {
      const isIndex = name.endsWith(".json");
      const store = new CountedStore({
        [name]: isIndex ? indexOf({ a: "f" }) : shard("a"),
        "z.bin": shard(),
      });
      const { files, index } = await locateFiles(store);
      assert.deepEqual([files, index?.file], isIndex ? [["f"], name] : [[name], undefined]);
      assert.deepEqual(store.asked.slice(0, i + 1), usualNames({}).slice(0, i + 1));
      assert.equal(store.held.size, 0);
    }
  });

  it("asks only for names of the format and variant", async () => {
    const store = new CountedStore({ "model.safetensors": shard("a") });
    const none = raises("NOT_FOUND", /the store holds no torch file of the variant "fp16"/);
    await assert.rejects(locateFiles(store, { format: "torch", variant: "fp16" }), none);
    assert.deepEqual(store.asked, usualNames({ format: "torch", variant: "fp16" }));
  });

  it("takes nothing but NOT_FOUND for an answer to go on", async () => {
    for (const error of [new SafetensorsError("IO", "broken"), new TypeError("broken"), "broken"]) {
      let asked = 0;
      const store: FileStore = {
        name: "broken",
        open: () => {
          asked++;
          return Promise.reject(error);
        },
      };
      await assert.rejects(locateFiles(store), (thrown) => thrown === error);
      assert.equal(asked, 1);
    }
  });
});

describe("for a file, locateFiles", () => {
  it("tells an index from weights by its content", async () => {
    const store = new CountedStore({
      weights: shard("a"),
      "a.index.json": shard("a"),
      index: indexOf({ a: "f" }),
      spaced: text(`\r\n\t {"weight_map":{"a":"f"}}`),
      empty: new Uint8Array(0),
      brace: text("{"),
    });
    for (const file of ["weights", "a.index.json", "empty"]) {
      assert.deepEqual(await locateFiles(store, { file }), { files: [file] });
    }
    for (const file of ["index", "spaced"]) {
      const { files, index } = await locateFiles(store, { file });
      assert.deepEqual([files, index?.file], [["f"], file]);
    }
    await assert.rejects(
      locateFiles(store, { file: "brace" }),
      raises("INVALID_INDEX", /brace: /, { file: "brace" }),
    );
    await assert.rejects(locateFiles(store, { file: "missing" }), raises("NOT_FOUND", /missing/));
    assert.equal(store.held.size, 0);
  });

  it("does not look for others", async () => {
    const store = new ListedStore({ "model.safetensors": shard("a"), x: shard("b") });
    assert.deepEqual(await locateFiles(store, { file: "x" }), { files: ["x"] });
    assert.equal(store.listed, 0);
  });

  it("refuses an index that leads out of the store, or names an incomplete set", async () => {
    for (const bad of ["../f", "/etc/passwd", "a\\b", "c:f", "", "..", "a\0", "http://x/y"]) {
      const store = new ListedStore({ [INDEX]: indexOf({ a: "f1", b: bad }), f1: shard("a") });
      const expected = raises("UNSAFE_FILE_NAME", /only the bare name/, { file: bad });
      await assert.rejects(locateFiles(store), expected);
      await assert.rejects(locateFiles(store, { file: INDEX }), expected);
      assert.deepEqual([new Set(store.asked), store.held.size], [new Set([INDEX]), 0]);
    }
    const store = new ListedStore({ [INDEX]: indexOf({ a: "m-00001-of-00002.safetensors" }) });
    await assert.rejects(locateFiles(store), raises("INDEX_MISMATCH", /their names say 2/, { file: INDEX }));
  });

  it("refuses an index that is too large before reading it", async () => {
    const reads: number[] = [];
    let closed = 0;
    const store: FileStore = {
      name: "large",
      list: async () => [INDEX],
      open: async () => ({
        size: MAX_INDEX_BYTES + 1,
        async read(_, length) {
          reads.push(length);
          return text('{"weight_map":'.padEnd(length).slice(0, length));
        },
        close: () => void closed++,
      }),
    };
    const expected = raises("LIMIT_EXCEEDED", /268435457 bytes, an index at most 268435456/, {
      limit: "MAX_INDEX_BYTES",
      file: INDEX,
    });
    await assert.rejects(locateFiles(store), expected);
    assert.deepEqual(reads, []);
    await assert.rejects(locateFiles(store, { file: INDEX }), expected);
    assert.ok(
      reads.every((length) => length <= 2 ** 17),
      `${reads} bytes read`,
    );
    assert.equal(closed, 2);
  });

  it("closes a source that fails, and names the index that is cut short", async () => {
    for (const failing of [0, 1]) {
      let reads = 0;
      let closed = 0;
      const store: FileStore = {
        name: "failing",
        open: async () => ({
          size: 100,
          read: async (_, length) => text("{".padEnd(length)).subarray(reads++ === failing ? 1 : 0),
          close: () => void closed++,
        }),
      };
      const file = failing === 1 ? { file: "x" } : {};
      await assert.rejects(locateFiles(store, { file: "x" }), raises("SHORT_READ", /./, file));
      assert.equal(closed, 1);
    }
  });
});
