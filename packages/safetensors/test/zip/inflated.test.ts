import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32, deflateRawSync } from "node:zlib";
import { fromBlob } from "../../src/source/blob.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { observed } from "../../src/source/observed.ts";
import { readInto } from "../../src/source/read-into.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { type DeflatedMember, inflatePrefix } from "../../src/zip/inflate.ts";
import { InflatedMembers, inflatedSource } from "../../src/zip/inflated.ts";
import { gatedSource, settle } from "../source/gated-source.ts";
import { concat, noise, raises } from "../support.ts";

/** Half noise, half zeros, of which deflate makes little. */
const DATA = concat([noise(70_000), new Uint8Array(3_000_000), noise(1000, 2)]);
const BEFORE = 13;

function deflated(
  data: Uint8Array,
  lies: Partial<DeflatedMember> = {},
  after: Uint8Array = noise(50),
): { file: Uint8Array<ArrayBuffer>; member: DeflatedMember } {
  const compressed = deflateRawSync(data);
  const member = {
    name: "a.npy",
    offset: BEFORE,
    compressedSize: compressed.length,
    size: data.length,
    crc32: crc32(data),
  };
  return { file: concat([noise(BEFORE), compressed, after]), member: { ...member, ...lies } };
}

/** Counts the reads of its first bytes: how often it was begun to inflate. */
function counted(file: Uint8Array<ArrayBuffer>): ByteSource & { begins: number } {
  const source = fromBlob(new Blob([file]));
  return {
    ...source,
    begins: 0,
    read(offset, length, options) {
      if (offset === BEFORE) this.begins++;
      return source.read(offset, length, options);
    },
  };
}

describe("an inflated member", () => {
  it("gives exactly what is asked for, and inflates once", async () => {
    const { file, member } = deflated(DATA);
    const below = counted(file);
    const source = inflatedSource(below, member);
    assert.equal(source.size, DATA.length);
    const ranges = [
      [0, 10],
      [DATA.length, 0],
      [69_990, 20],
      [DATA.length - 5, 5],
      [0, DATA.length],
    ] as const;
    await Promise.all(
      ranges.map(async ([offset, length]) => {
        const expected = DATA.subarray(offset, offset + length);
        assert.ok(Buffer.from(await source.read(offset, length)).equals(expected));
        const target = new Uint8Array(length);
        await readInto(source, offset, target);
        assert.ok(Buffer.from(target).equals(expected));
      }),
    );
    assert.equal(below.begins, 1);
    // What is there comes without waiting, and belongs to the caller.
    assert.equal(source.readInto!(1, new Uint8Array(3)), undefined);
    (await source.read(0, 4)).fill(0);
    assert.deepEqual(await source.read(0, 4), DATA.slice(0, 4));
    await assert.rejects(source.read(1, DATA.length), raises("OUT_OF_RANGE"));
    assert.throws(() => source.readInto!(-1, new Uint8Array(1)), raises("OUT_OF_RANGE"));
  });

  it("gives its begin without all of it being read", async () => {
    const { file, member } = deflated(noise(5_000_000));
    const traffic = { requests: 0, bytes: 0 };
    const source = observed(fromBytes(file), traffic);
    assert.deepEqual(await inflatePrefix(source, member, 100), noise(100));
    assert.ok(traffic.bytes <= 200_000, `${traffic.bytes} bytes`);
    const short = deflated(noise(30));
    assert.deepEqual(await inflatePrefix(fromBytes(short.file), short.member, 100), noise(30));
    const nothing = deflated(noise(0));
    assert.deepEqual(await inflatePrefix(fromBytes(nothing.file), nothing.member, 100), noise(0));
  });

  it("of nothing is empty", async () => {
    const { file, member } = deflated(new Uint8Array(0));
    assert.deepEqual(await inflatedSource(fromBytes(file), member).read(0, 0), new Uint8Array(0));
  });

  it("gives nothing unless size and checksum are right", async () => {
    const damaged = deflated(DATA);
    damaged.file[BEFORE + 30_000]! ^= 1;
    const garbage = { ...deflated(DATA), file: concat([noise(BEFORE), new Uint8Array(80_000).fill(0xff)]) };
    const { compressedSize } = garbage.member;
    for (const [{ file, member }, message] of [
      [deflated(DATA, { size: DATA.length - 1 }), /inflates to more than its 3070999 bytes/],
      [deflated(DATA, { size: DATA.length + 1 }), /inflates to 3071000 bytes, not 3071001/],
      [deflated(DATA, { crc32: 1 }), /another CRC/],
      [deflated(DATA, { size: compressedSize * 1032 + 1 }), /cannot have \d+ bytes, compressed to/],
      [deflated(DATA, { compressedSize: compressedSize - 500 }), /damaged or cut off/],
      [damaged, /damaged or cut off|another CRC/],
      [garbage, /damaged or cut off/],
    ] as const) {
      const source = inflatedSource(fromBytes(file), member);
      const expected = raises("INVALID_ARCHIVE", message);
      await assert.rejects(source.read(0, 10), expected);
      await assert.rejects(async () => source.readInto!(5, new Uint8Array(5)), expected);
    }
  });

  it("is refused above the limit", () => {
    const { file, member } = deflated(DATA, { size: 2 ** 32 + 1, compressedSize: 2 ** 31 });
    const expected = raises("LIMIT_EXCEEDED", /"a\.npy"/, { limit: "MAX_INFLATED_BYTES" });
    assert.throws(() => inflatedSource(fromBytes(file), member), expected);
  });

  it("fails as its source does, and can be read afterwards", async () => {
    const { file, member } = deflated(DATA);
    const below = counted(file);
    const whole = below.read;
    below.read = () => Promise.reject(new TypeError("unplugged"));
    const source = inflatedSource(below, member);
    await assert.rejects(source.read(0, 1), { name: "TypeError", message: "unplugged" });
    below.read = whole;
    assert.deepEqual(await source.read(0, 1), DATA.slice(0, 1));
  });

  it("is kept while there is room, the one used last in any case", async () => {
    const { file, member } = deflated(DATA);
    const kept = new InflatedMembers(2 * DATA.length);
    const below = counted(file);
    const [a, b, c] = Array.from({ length: 3 }, () => inflatedSource(below, member, kept));
    await a!.read(0, 1);
    await b!.read(0, 1);
    await a!.read(0, 1);
    assert.equal(below.begins, 2);
    await c!.read(0, 1);
    await a!.read(0, 1);
    assert.equal(below.begins, 3);
    await b!.read(0, 1);
    assert.equal(below.begins, 4);
    kept.clear();
    await a!.read(0, 1);
    assert.equal(below.begins, 5);
    const small = inflatedSource(below, member, new InflatedMembers(1));
    await small.read(0, 1);
    await small.read(0, 1);
    assert.equal(below.begins, 6);
  });

  it("is given up when nobody waits any more, and not before", async () => {
    const { file, member } = deflated(DATA);
    const below = gatedSource(file);
    const source = inflatedSource(below, member);
    const [first, second] = [new AbortController(), new AbortController()];
    const reads = [first, second].map(({ signal }) => source.read(0, 9, { signal }));
    await settle();
    assert.equal(below.reads.length, 1);
    first.abort(new Error("enough"));
    await assert.rejects(reads[0]!, /enough/);
    assert.equal(below.reads[0]!.signal!.aborted, false);
    second.abort(new Error("too long"));
    await assert.rejects(reads[1]!, /too long/);
    assert.equal(below.reads[0]!.signal!.aborted, true);

    // The next caller begins anew.
    const again = source.read(0, 9);
    await settle();
    for (const read of below.reads) read.pass();
    assert.deepEqual(await again, DATA.slice(0, 9));
    await assert.rejects(source.read(0, 9, { signal: AbortSignal.abort(new Error("before")) }), /before/);
  });
});
