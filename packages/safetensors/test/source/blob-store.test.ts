import assert from "node:assert/strict";
import { File } from "node:buffer";
import { describe, it } from "node:test";
import { openStore } from "../../src/checkpoint/open-store.ts";
import { blobStore } from "../../src/source/blob-store.ts";
import { dataOf, indexOf, shard } from "../checkpoint/counted-store.ts";
import { raises } from "../support.ts";

const SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] as const;
const fileOf = (name: string, content: Uint8Array | string): File =>
  new File([content as Uint8Array<ArrayBuffer>], name);
const shards = [fileOf(SHARDS[1], shard("c")), fileOf(SHARDS[0], shard("a", "b"))];
const index = fileOf("model.safetensors.index.json", indexOf({ a: SHARDS[0], b: SHARDS[0], c: SHARDS[1] }));

describe("blobStore", () => {
  it("opens a checkpoint from files that were picked, in any order", async () => {
    for (const files of [
      [...shards, index],
      [index, ...shards],
      shards,
      new Set([fileOf("README.md", "hi"), ...shards]),
    ]) {
      await using checkpoint = await openStore(blobStore(files));
      assert.deepEqual([...checkpoint.keys()], ["a", "b", "c"]);
      for (const name of checkpoint.keys())
        assert.deepEqual(await checkpoint.get(name).bytes(), dataOf(name));
    }
    await using part = await openStore(blobStore([...shards, index]), { names: ["c"] });
    assert.deepEqual([...part.keys()], ["c"]);
  });

  it("takes a list like that of an input element, and reads it once", async () => {
    const list = {
      length: 2,
      item: (i: number) => shards[i],
      *[Symbol.iterator]() {
        yield* shards;
      },
    };
    const store = blobStore(list);
    assert.deepEqual(await store.list!(), [SHARDS[1], SHARDS[0]]);
    const once = blobStore(list[Symbol.iterator]());
    assert.equal((await openStore(once)).size, 3);
    assert.equal((await openStore(once)).size, 3);
  });

  it("takes the first of two files with one name", async () => {
    const store = blobStore([
      fileOf("x.safetensors", shard("first")),
      fileOf("x.safetensors", shard("second")),
    ]);
    assert.deepEqual(await store.list!(), ["x.safetensors"]);
    assert.deepEqual([...(await openStore(store)).keys()], ["first"]);
  });

  it("says what is missing among the files", async () => {
    const missing = raises("NOT_FOUND", /"model-00002-of-00002\.safetensors" is not among the chosen files/, {
      file: SHARDS[1],
    });
    await assert.rejects(openStore(blobStore([index, shards[1]!])), missing);
    await assert.rejects(openStore(blobStore([shards[1]!])), raises("INDEX_MISMATCH", /1 files .* say 2/));
    await assert.rejects(
      openStore(blobStore([])),
      raises("NOT_FOUND", /the chosen files holds? no safetensors/),
    );
    await assert.rejects(blobStore([index]).open("\u202e"), raises("NOT_FOUND", /"\\u202e"/));
  });

  it("may have names that are dangerous in plain objects", async () => {
    const store = blobStore([fileOf("__proto__", shard("a"))]);
    assert.deepEqual(await store.list!(), ["__proto__"]);
    assert.deepEqual([...(await openStore(store, { file: "__proto__" })).keys()], ["a"]);
    for (const name of ["constructor", "toString", "length"]) {
      await assert.rejects(blobStore([index]).open(name), raises("NOT_FOUND"));
    }
  });

  it("heeds a signal", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await assert.rejects(openStore(blobStore([...shards, index]), { signal }), /enough/);
  });
});
