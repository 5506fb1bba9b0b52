import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32, deflateRawSync } from "node:zlib";
import { SafetensorsError } from "../../src/errors.ts";
import { DATA_INFLATE_ALLOWANCE, MAX_INFLATE_RATIO } from "../../src/limits.ts";
import { npyHeader, numpyReader, openNumpy } from "../../src/numpy/index.ts";
import { fromBlob } from "../../src/source/blob.ts";
import { fromBytes } from "../../src/source/memory.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { fixture } from "../fixtures.ts";
import { concat, noise, raises } from "../support.ts";
import { buildZip, type Member } from "../zip/zip-builder.ts";
import { headerText, npyAround } from "./npy-file.ts";

const ARRAY = concat([npyHeader("F32", [2, 3]), noise(24)]);

/** A member as numpy.savez_compressed makes it; the builder's checksum is that of the compressed bytes. */
function deflatedZip(name: string, data: Uint8Array, lies: { size?: number; crc?: number } = {}): Uint8Array {
  const compressed = deflateRawSync(data);
  const file = buildZip([{ name, data: compressed, method: 8, size: lies.size ?? data.length }]);
  const view = new DataView(file.buffer);
  const entry = 30 + name.length + compressed.length;
  for (const at of [14, entry + 16]) view.setUint32(at, lies.crc ?? crc32(data), true);
  return file;
}

const zipOf = (...members: Member[]): ByteSource => fromBytes(buildZip(members));

describe("an archive", () => {
  it("names its arrays as its members are named, without the ending", async () => {
    const names = ["b", "a", "", "a.npy", "dir/a", "__proto__"];
    const checkpoint = await openNumpy(
      zipOf(...names.map((name) => ({ name: `${name}.npy`, data: ARRAY })), { name: "dir/" }),
    );
    assert.deepEqual([...checkpoint.keys()], names);
    for (const { shape } of checkpoint) assert.deepEqual(shape, [2, 3]);
    assert.equal(checkpoint.has("dir/"), false);
  });

  it("gives its arrays in the order of their data", async () => {
    const members = ["b", "a"].map((name) => ({ name: `${name}.npy`, data: ARRAY }));
    const source = fromBytes(buildZip(members, { order: [1, 0] }));
    assert.deepEqual([...(await openNumpy(source)).keys()], ["b", "a"]);
  });

  it("of other things is refused", async () => {
    for (const name of ["a.txt", "npy", "a.npy.gz", "a.NPY"]) {
      const source = zipOf({ name: "a.npy", data: ARRAY }, { name, data: ARRAY });
      await assert.rejects(openNumpy(source), raises("UNSUPPORTED", /which is no array/, { kind: "zip" }));
    }
    const twice = zipOf({ name: "a.npy", data: ARRAY }, { name: "a.npy", data: ARRAY });
    await assert.rejects(openNumpy(twice), raises("INVALID_ARCHIVE", /two members are named "a\.npy"/));
    const garbage = zipOf({ name: "fine.npy", data: ARRAY }, { name: "a.npy", data: noise(100) });
    await assert.rejects(openNumpy(garbage), raises("INVALID_HEADER", /array "a": /, { tensor: "a" }));
    const nothing = zipOf({ name: "a.npy" });
    await assert.rejects(openNumpy(nothing), raises("INVALID_HEADER", /array "a": /, { tensor: "a" }));
  });

  it("is told by its first member", () => {
    const recognises = (name: string): boolean => numpyReader.recognises(buildZip([{ name, data: ARRAY }]));
    assert.ok(recognises("a.npy") && recognises("é/ü.npy"));
    assert.ok(!recognises("archive/data.pkl") && !recognises("a.npy.gz"));
    assert.ok(!numpyReader.recognises(Buffer.from("PK\x03\x04")));
    assert.ok(!numpyReader.recognises(new Uint8Array(0)));
  });

  it("has arrays of exactly the size of their members", async () => {
    for (const [data, code] of [
      [ARRAY.subarray(0, -1), "TRUNCATED"],
      [concat([ARRAY, noise(1)]), "TRAILING_BYTES"],
    ] as const) {
      await assert.rejects(openNumpy(zipOf({ name: "a.npy", data })), raises(code, /array "a"/));
      await assert.rejects(openNumpy(fromBytes(deflatedZip("a.npy", data))), raises(code, /array "a"/));
    }
  });
});

describe("a compressed array", () => {
  const big = concat([npyHeader("U8", [1_000_000]), noise(1000), new Uint8Array(999_000)]);

  it("is inflated when it is read, and kept when it is read here and there", async () => {
    const file = deflatedZip("a.npy", big);
    let bytes = 0;
    const blob = fromBlob(new Blob([file.slice()]));
    const source: ByteSource = {
      ...blob,
      async read(offset, length, options) {
        bytes += length;
        return blob.read(offset, length, options);
      },
    };
    const checkpoint = await openNumpy(source);
    const opened = bytes;
    const tensor = checkpoint.get("a");
    for (const start of [0, 500, 999_999]) {
      const expected = big.slice(big.length - 1_000_000 + start).slice(0, 1);
      assert.deepEqual(await tensor.slice([start]).bytes(), expected);
    }
    const needed = bytes - opened;
    assert.ok(needed < 2 * file.length, `${needed} of ${file.length} bytes`);
    let length = 0;
    for await (const chunk of tensor.chunks(new Uint8Array(4096))) length += chunk.length;
    assert.equal(length, 1_000_000);
    assert.equal(bytes - opened, needed);
  });

  it("with a header of any length is opened", async () => {
    const data = concat([npyAround(headerText() + " ".repeat(50_000)), noise(24)]);
    const checkpoint = await openNumpy(fromBytes(deflatedZip("a.npy", data)));
    assert.deepEqual(await checkpoint.get("a").bytes(), noise(24));
  });

  it("that is not what the directory says gives nothing", async () => {
    const wrong = await openNumpy(fromBytes(deflatedZip("a.npy", big, { crc: 1 })));
    await assert.rejects(wrong.get("a").bytes(), raises("INVALID_ARCHIVE", /CRC/, { tensor: "a" }));
    await assert.rejects(wrong.load(), raises("INVALID_ARCHIVE", /CRC/, { tensor: "a" }));
    const bomb = deflatedZip("a.npy", big, { size: 2 ** 31 });
    const expected = raises("INVALID_ARCHIVE", /cannot have 2147483648/);
    await assert.rejects(openNumpy(fromBytes(bomb), { allowExpansion: true }), expected);
    const short = deflatedZip("a.npy", ARRAY.subarray(0, 100), { size: ARRAY.length });
    await assert.rejects(
      openNumpy(fromBytes(short)),
      raises("INVALID_ARCHIVE", /inflates to 100 bytes, not 152/),
    );
  });

  it("that unpacks to more than honest data does is refused, unless it is allowed or not asked for", async () => {
    const allowance = DATA_INFLATE_ALLOWANCE;
    /** Only its begin is what it should be. */
    const zeros = (size: number, compressedSize: number): ByteSource => {
      const begin = deflateRawSync(concat([npyHeader("U8", [size - 128]), new Uint8Array(10_000)]));
      const data = concat([begin, new Uint8Array(compressedSize - begin.length)]);
      return fromBytes(buildZip([{ name: "a.npy", data, method: 8, size }]));
    };
    const bomb = zeros(allowance + 1, 300_000);
    const text = /"a" has 300000 bytes and would unpack to 268435457/;
    const expected = raises("LIMIT_EXCEEDED", text, { limit: "MAX_INFLATE_RATIO" });
    await assert.rejects(openNumpy(bomb), expected);
    assert.deepEqual([...(await openNumpy(bomb, { names: ["other"] })).keys()], []);
    assert.equal((await openNumpy(bomb, { allowExpansion: true })).get("a").byteLength, allowance - 127);
    const enough = Math.ceil((allowance + 1) / MAX_INFLATE_RATIO);
    for (const honest of [zeros(allowance, 300_000), zeros(allowance + 1, enough)])
      assert.equal((await openNumpy(honest)).get("a").shape.length, 1);
  });

  it("cannot be read after its file was closed", async () => {
    const file = fromBytes(fixture("numpy/compressed.npz"));
    let isClosed = false;
    const source: ByteSource = {
      size: file.size,
      async read(offset, length) {
        if (isClosed) throw new SafetensorsError("CLOSED", "the file has been closed");
        return file.read(offset, length);
      },
      close() {
        isClosed = true;
      },
    };
    const checkpoint = await openNumpy(source);
    await checkpoint.get("long").bytes();
    await checkpoint.close();
    assert.ok(isClosed);
    await assert.rejects(checkpoint.get("long").bytes(), raises("CLOSED", /./, { tensor: "long" }));
  });
});
