import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromBlob } from "../../src/source/blob.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { readExactly, readInto } from "../../src/source/read-into.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { concat, noise, raises } from "../support.ts";

const bytes = noise(1000);

/** Ranges that are not inside a source of 1000 bytes. */
const OUTSIDE: readonly (readonly [offset: number, length: number])[] = [
  [0, 1001],
  [1000, 1],
  [1001, 0],
  [-1, 1],
  [5, -1],
  [0.5, 1],
  [0, 1.5],
  [Number.NaN, 1],
  [0, Number.NaN],
  [2 ** 53, 0],
  [2 ** 53 - 1, 2 ** 53 - 1],
  [Number.POSITIVE_INFINITY, 1],
  [0, Number.POSITIVE_INFINITY],
  [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
];

const kinds: Readonly<Record<string, () => ByteSource>> = {
  "fromBytes of a typed array": () => fromBytes(bytes),
  "fromBytes of an ArrayBuffer": () => fromBytes(bytes.slice().buffer),
  "fromBytes of part of a buffer": () => fromBytes(concat([noise(3), bytes, noise(9)]).subarray(3, 1003)),
  "fromBytes of a DataView": () => fromBytes(new DataView(concat([noise(5), bytes]).buffer, 5)),
  "fromBytes of a Uint16Array": () => fromBytes(new Uint16Array(bytes.slice().buffer)),
  "fromBytes of a SharedArrayBuffer": () => {
    const shared = new SharedArrayBuffer(1000);
    new Uint8Array(shared).set(bytes);
    return fromBytes(shared);
  },
  "fromBytes of a Buffer from the pool": () => fromBytes(Buffer.concat([bytes])),
  "fromBlob of a Blob": () => fromBlob(new Blob([bytes])),
  "fromBlob of a Blob in parts": () => fromBlob(new Blob([bytes.subarray(0, 300), bytes.subarray(300)])),
  "fromBlob of a File": () => fromBlob(new File([bytes], "model.safetensors")),
};

for (const [name, make] of Object.entries(kinds)) {
  describe(name, () => {
    const source = make();

    it("knows its size and gives exactly what is asked for", async () => {
      assert.equal(source.size, 1000);
      for (const [offset, length] of [
        [0, 1000],
        [0, 0],
        [1000, 0],
        [999, 1],
        [17, 400],
      ] as const) {
        const expected = bytes.subarray(offset, offset + length);
        assert.deepEqual(new Uint8Array(await source.read(offset, length)), expected);
        const target = new Uint8Array(length + 2).fill(0xaa);
        await readInto(source, offset, target.subarray(1, length + 1));
        assert.deepEqual(target, concat([Uint8Array.of(0xaa), expected, Uint8Array.of(0xaa)]));
        if (source.view) assert.deepEqual(new Uint8Array(source.view(offset, length)), expected);
      }
    });

    it("refuses what is not inside it", async () => {
      for (const [offset, length] of OUTSIDE) {
        const expected = raises("OUT_OF_RANGE", /has 1000/, { at: offset });
        await assert.rejects(async () => source.read(offset, length), expected, `${offset} + ${length}`);
        if (source.view) assert.throws(() => source.view!(offset, length), expected);
      }
      await assert.rejects(async () => readInto(source, 991, new Uint8Array(10)), raises("OUT_OF_RANGE"));
      await assert.rejects(async () => readInto(source, -1, new Uint8Array(10)), raises("OUT_OF_RANGE"));
    });

    it("serves many reads at once", async () => {
      const reads = Array.from({ length: 1000 }, (_, i) => source.read(i, 1));
      for (const [i, found] of (await Promise.all(reads)).entries()) assert.deepEqual([...found], [bytes[i]]);
    });
  });
}

describe("fromBytes", () => {
  it("gives views of the memory, nothing is copied", async () => {
    const source = fromBytes(bytes, "mine");
    assert.equal(source.name, "mine");
    assert.equal((await source.read(8, 4)).buffer, bytes.buffer);
    assert.equal(source.view!(8, 4).byteOffset, bytes.byteOffset + 8);
    assert.throws(() => source.view!(999, 2), raises("OUT_OF_RANGE", /mine has 1000/));
  });

  it("fills without waiting", () => {
    const target = new Uint8Array(4);
    assert.equal(fromBytes(bytes).readInto!(3, target), undefined);
    assert.deepEqual(target, bytes.slice(3, 7));
  });
});

describe("fromBlob", () => {
  it("gives memory that belongs to the caller", async () => {
    const source = fromBlob(new Blob([bytes]));
    (await source.read(0, 4)).fill(0);
    assert.deepEqual(await source.read(0, 4), bytes.slice(0, 4));
  });

  it("is named after its file", async () => {
    assert.equal(fromBlob(new File([bytes], "a.safetensors")).name, "a.safetensors");
    assert.equal(fromBlob(new Blob([])).name, "blob");
  });

  it("heeds a signal", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await assert.rejects(fromBlob(new Blob([bytes])).read(0, 4, { signal }), /enough/);
    const controller = new AbortController();
    const read = fromBlob(new Blob([bytes])).read(0, 4, { signal: controller.signal });
    controller.abort(new Error("late"));
    await assert.rejects(read, /late/);
  });

  it("says what happened when the bytes are gone", async () => {
    const blob = new Blob([bytes]);
    blob.slice = () =>
      ({ arrayBuffer: () => Promise.reject(new DOMException("gone", "NotReadableError")) }) as Blob;
    const gone = raises("IO", /blob can no longer be read/, { at: 7 });
    await assert.rejects(fromBlob(blob).read(7, 3), (error: Error) => {
      assert.equal((error.cause as Error).name, "NotReadableError");
      return gone(error);
    });
    blob.slice = () => new Blob([bytes.subarray(0, 2)]);
    await assert.rejects(fromBlob(blob).read(7, 3), raises("SHORT_READ", /2 of 3 bytes/, { at: 7 }));
  });
});

describe("readExactly and readInto", () => {
  it("notice a source that gives too few or too many bytes", async () => {
    for (const wrong of [0, 3, 5]) {
      const source: ByteSource = { size: 100, read: async () => new Uint8Array(wrong) };
      const expected = raises("SHORT_READ", new RegExp(`the source gave ${wrong} bytes where 4 `), {
        at: 10,
      });
      await assert.rejects(readExactly(source, 10, 4), expected);
      await assert.rejects(async () => readInto(source, 10, new Uint8Array(4)), expected);
    }
  });
});
