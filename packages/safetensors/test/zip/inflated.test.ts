import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32, deflateRawSync } from "node:zlib";
import fc from "fast-check";
import { fromBlob } from "../../src/source/blob.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { observed } from "../../src/source/observed.ts";
import { readInto } from "../../src/source/read-into.ts";
import type { ByteSource, ReadOptions } from "../../src/source/source.ts";
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
function counted(file: Uint8Array<ArrayBuffer>): ByteSource & { begins: number; bytes: number } {
  const source = fromBlob(new Blob([file]));
  return {
    ...source,
    begins: 0,
    bytes: 0,
    read(offset, length, options) {
      if (offset === BEFORE) this.begins++;
      this.bytes += length;
      return source.read(offset, length, options);
    },
  };
}

/** Reads a member from its begin to its end, and checks what comes. */
async function readThrough(source: ByteSource, data: Uint8Array, step: number, signal?: AbortSignal) {
  const buffer = new Uint8Array(step);
  for (let at = 0; at < data.length; at += step) {
    const chunk = buffer.subarray(0, Math.min(step, data.length - at));
    await source.readInto!(at, chunk, { signal });
    assert.ok(Buffer.from(chunk).equals(data.subarray(at, at + chunk.length)), `at ${at}`);
  }
}

/** A read that is too far on to be served on the way there, so that the whole member is held from then on. */
const readEnd = (source: ByteSource, options?: ReadOptions): Promise<Uint8Array> =>
  source.read(source.size - 9, 9, options);

describe("an inflated member", () => {
  it("gives exactly what is asked for, and inflates at most twice", async () => {
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
    assert.equal(below.begins, 2);
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

  it("gives its last byte only if size and checksum are right, and nothing when it is held", async () => {
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
      const expected = raises("INVALID_ARCHIVE", message);
      const { size } = member;
      const whole = inflatedSource(fromBytes(file), member);
      await assert.rejects(whole.read(0, size), expected);
      const inPieces = inflatedSource(fromBytes(file), member);
      const wait = readThrough(inPieces, concat([DATA, new Uint8Array(size)]).subarray(0, size), 100_000);
      await assert.rejects(wait, (error) => error instanceof assert.AssertionError || expected(error));
      await assert.rejects(inPieces.read(size - 1, 1), expected);
      const here = inflatedSource(fromBytes(file), member);
      await assert.rejects(here.read(size - 10, 5), expected);
      await assert.rejects(async () => here.readInto!(size - 10, new Uint8Array(5)), expected);
    }
  });

  it("is refused above the limit only if it would have to be held", async () => {
    const { file, member } = deflated(DATA, { size: 2 ** 32 + 1, compressedSize: 2 ** 23 });
    const below = { ...fromBytes(new Uint8Array(BEFORE + 2 ** 23)) };
    below.readInto = (offset, target) => target.set(file.subarray(offset, offset + target.length));
    const source = inflatedSource(below, member);
    await readThrough(source, DATA.subarray(0, 3_000_000), 1_000_000);
    const expected = raises("LIMIT_EXCEEDED", /"a\.npy".*without compression/, {
      limit: "MAX_INFLATED_BYTES",
    });
    await assert.rejects(async () => source.readInto!(2 ** 31, new Uint8Array(1)), expected);
  });

  it("fails as its source does, and can be read afterwards", async () => {
    const { file, member } = deflated(DATA);
    const below = counted(file);
    const whole = below.read;
    below.read = () => Promise.reject(new TypeError("unplugged"));
    const source = inflatedSource(below, member);
    const expected = { name: "TypeError", message: "unplugged" };
    for (const place of [0, DATA.length - 1]) await assert.rejects(source.read(place, 1), expected);
    below.read = whole;
    assert.deepEqual(await source.read(0, 1), DATA.slice(0, 1));
  });

  it("is kept while there is room, the one used last in any case", async () => {
    const { file, member } = deflated(DATA);
    const kept = new InflatedMembers(2 * DATA.length);
    const below = counted(file);
    const [a, b, c] = Array.from({ length: 3 }, () => inflatedSource(below, member, kept));
    await readEnd(a!);
    await readEnd(b!);
    await readEnd(a!);
    assert.equal(below.begins, 2);
    await readEnd(c!);
    await readEnd(a!);
    assert.equal(below.begins, 3);
    await readEnd(b!);
    assert.equal(below.begins, 4);
    kept.clear();
    await readEnd(a!);
    assert.equal(below.begins, 5);
    const small = inflatedSource(below, member, new InflatedMembers(1));
    await readEnd(small);
    await readEnd(small);
    assert.equal(below.begins, 6);
  });

  it("is given up when nobody waits any more, and not before", async () => {
    const { file, member } = deflated(DATA);
    const ways = [
      (source: ByteSource, place: number, signal?: AbortSignal) => source.read(place * 9, 9, { signal }),
      (source: ByteSource, _place: number, signal?: AbortSignal) => readEnd(source, { signal }),
    ];
    for (const [way, read] of ways.entries()) {
      const below = gatedSource(file);
      const source = inflatedSource(below, member);
      const [first, second] = [new AbortController(), new AbortController()];
      const reads = [first, second].map(({ signal }, place) => read(source, place, signal));
      await settle();
      assert.equal(below.reads.length, 1);
      first.abort(new Error("enough"));
      await assert.rejects(reads[0]!, /enough/);
      assert.equal(below.reads[0]!.signal!.aborted, false);
      second.abort(new Error("too long"));
      await assert.rejects(reads[1]!, /too long/);
      assert.equal(below.reads[0]!.signal!.aborted, true);

      // The next caller begins anew.
      const again = read(source, 0);
      await settle();
      for (const read of below.reads) read.pass();
      assert.deepEqual(await again, way === 0 ? DATA.slice(0, 9) : DATA.slice(-9));
      const before = AbortSignal.abort(new Error("before"));
      await assert.rejects(read(source, 0, before), /before/);
    }
  });
});

describe("a small inflated member", () => {
  const plain = concat([noise(5000), new Uint8Array(3000)]);
  const { file, member } = deflated(plain);

  it("needs no stream, is read at once, and kept only for reads of parts", async (test) => {
    test.mock.method(globalThis, "DecompressionStream", () => assert.fail("a stream"));
    const below = counted(file);
    const source = inflatedSource(below, member);
    for (const begins of [1, 2]) {
      assert.deepEqual(await source.read(0, plain.length), plain);
      assert.equal(below.begins, begins);
    }
    for (const at of [0, 7000, 10, plain.length - 9])
      assert.deepEqual(await source.read(at, 9), plain.slice(at, at + 9));
    assert.deepEqual(await source.read(0, plain.length), plain);
    assert.equal(below.begins, 3);
    assert.equal(below.bytes, 3 * member.compressedSize);
    assert.deepEqual(await inflatePrefix(below, member, 100), plain.slice(0, 100));
  });

  it("gives nothing if it is not what the directory says", async () => {
    const { compressedSize } = member;
    const broken = file.map((byte, at) => (at >= BEFORE + 100 && at < BEFORE + 200 ? byte ^ 0x5a : byte));
    const bomb = deflated(new Uint8Array(1_000_000)).file;
    for (const [bytes, lies, message] of [
      [file, { size: plain.length - 1 }, /inflates to more than its 7999 bytes/],
      [file, { size: plain.length + 1 }, /inflates to 8000 bytes, not 8001/],
      [file, { crc32: 1 }, /another CRC/],
      [file, { compressedSize: compressedSize - 1 }, /damaged or cut off/],
      [file, { compressedSize: compressedSize + 1 }, /damaged or cut off/],
      [broken, {}, /damaged or cut off|another CRC|inflates to/],
      [bomb, { size: 2000, compressedSize: 500 }, /inflates to more than its 2000 bytes/],
    ] as const) {
      const lying = { ...member, ...lies };
      const expected = raises("INVALID_ARCHIVE", message);
      await assert.rejects(inflatedSource(fromBytes(bytes), lying).read(0, lying.size), expected);
      await assert.rejects(inflatedSource(fromBytes(bytes), lying).read(0, 1), expected);
    }
  });

  it("fails as its source does, and for whoever gives up", async () => {
    const source = inflatedSource(
      { ...fromBytes(file), readInto: () => Promise.reject(new TypeError("unplugged")) },
      member,
    );
    await assert.rejects(source.read(0, plain.length), { name: "TypeError", message: "unplugged" });
    for (const length of [plain.length, 9]) {
      const gated = gatedSource(file);
      const stopper = new AbortController();
      const wait = inflatedSource(gated, member).read(0, length, { signal: stopper.signal });
      await settle();
      stopper.abort(new Error("enough"));
      await assert.rejects(wait, /enough/);
      assert.ok(gated.reads[0]!.signal!.aborted);
    }
  });
});

describe("an inflated member that is read in order", () => {
  const big = noise(8_000_000);
  const { file, member } = deflated(big);

  it("is inflated as far as it is read, as often as it is read", async () => {
    const below = counted(file);
    const source = inflatedSource(below, member);
    for (const pass of [1, 2, 3, 4]) {
      const before = below.bytes;
      await source.readInto!(0, new Uint8Array(1_000_000));
      assert.ok(below.bytes - before <= 3 * 2 ** 20, `${below.bytes - before} bytes`);
      await readThrough(source, big, 1_000_000);
      // The first read was thrown away each time.
      assert.equal(below.begins, 2 * pass);
    }
  });

  it("gives reads at the same time in the order in which they were asked for", async () => {
    const below = counted(file);
    const source = inflatedSource(below, member);
    const places = Array.from({ length: 8 }, (_, place) => place * 1_000_000);
    const parts = await Promise.all(places.map((place) => source.read(place + 5, 960_000)));
    for (const [place, part] of parts.entries())
      assert.ok(Buffer.from(part).equals(big.subarray(places[place]! + 5, places[place]! + 960_005)));
    assert.equal(below.begins, 1);
  });

  it("is not inflated again and again, however it is read", async () => {
    const steps = Array.from({ length: 80 }, (_, step) => step * 100_000);
    const toAndFro = steps.flatMap((place) => [place, Math.max(place - 50_000, 0)]);
    const side = steps.flatMap((place) => [place, place]);
    for (const [places, begins] of [
      [steps.toReversed(), 1],
      [toAndFro, 3],
      [side, 6],
      [new Array<number>(50).fill(0), 4],
      [new Array<number>(50).fill(3_000_000), 1],
    ] as const) {
      const below = counted(file);
      const source = inflatedSource(below, member);
      for (const place of places)
        assert.deepEqual(await source.read(place, 1000), big.slice(place, place + 1000));
      assert.ok(below.begins <= begins, `${below.begins} begins, not ${begins}`);
      assert.ok(below.bytes <= 2.5 * file.length, `${below.bytes} bytes`);
    }
  });

  it("is held when two read it side by side", async () => {
    const below = counted(file);
    const source = inflatedSource(below, member);
    await Promise.all([1, 2, 3, 4].map((step) => readThrough(source, big, step * 300_000)));
    assert.ok(below.begins <= 5, `${below.begins} begins`);
    assert.equal(source.readInto!(1, new Uint8Array(1)), undefined);
  });

  it("writes nothing for a reader that is gone, and goes on for the others", async () => {
    const gated = gatedSource(file);
    const source = inflatedSource(gated, member);
    const gone = new AbortController();
    const targets = [0, 1, 2].map(() => new Uint8Array(1000));
    const reads = targets.map((target, place) =>
      source.readInto!(place * 1000, target, place === 1 ? { signal: gone.signal } : {}),
    );
    await settle();
    gone.abort(new Error("gone"));
    await assert.rejects(async () => reads[1], /gone/);
    gated.reads[0]!.pass();
    await Promise.all([reads[0], reads[2]]);
    assert.deepEqual(targets, [big.slice(0, 1000), new Uint8Array(1000), big.slice(2000, 3000)]);
  });

  it("fails when all is let go, and can begin anew", async () => {
    const gated = gatedSource(file);
    const kept = new InflatedMembers();
    const source = inflatedSource(gated, member, kept);
    const wait = source.read(0, 2_000_000);
    await settle();
    kept.clear();
    await assert.rejects(wait, raises("CLOSED"));
    assert.ok(gated.reads[0]!.signal!.aborted);
    const again = source.read(0, 10);
    await settle();
    gated.reads[1]!.pass();
    assert.deepEqual(await again, big.slice(0, 10));
  });

  it("goes on beside a few others, and is given up for more", async () => {
    for (const [count, begins] of [
      [8, 8],
      [9, 10],
    ] as const) {
      const kept = new InflatedMembers();
      const below = counted(file);
      const sources = Array.from({ length: count }, () => inflatedSource(below, member, kept));
      for (const source of sources) await source.read(0, 1_500_000);
      for (const source of sources)
        assert.ok(Buffer.from(await source.read(1_500_000, 10)).equals(big.subarray(1_500_000, 1_500_010)));
      assert.equal(below.begins, begins);
    }
  });

  it("gives the same whatever is read, and whoever gives up", async () => {
    const data = noise(300_000);
    const small = deflated(data);
    const read = fc.record({
      from: fc.nat(data.length),
      length: fc.nat(60_000),
      goesOn: fc.boolean(),
      waits: fc.boolean(),
      givesUp: fc.boolean(),
    });
    const property = fc.asyncProperty(fc.array(read, { maxLength: 20 }), async (reads) => {
      const source = inflatedSource(fromBlob(new Blob([small.file])), small.member, new InflatedMembers(1));
      let end = 0;
      const waits: Promise<void>[] = [];
      for (const { from, length, goesOn, waits: alone, givesUp } of reads) {
        const start = Math.min(goesOn ? end : from, data.length - 1);
        end = Math.min(start + length, data.length);
        const target = new Uint8Array(end - start);
        const expected = data.subarray(start, end);
        const control = new AbortController();
        const check = async (): Promise<void> => {
          try {
            await source.readInto!(start, target, { signal: control.signal });
            assert.ok(Buffer.from(target).equals(expected));
          } catch (error) {
            if (!givesUp || error !== control.signal.reason) throw error;
          }
        };
        const wait = check();
        if (givesUp) queueMicrotask(() => control.abort(new Error("gives up")));
        waits.push(wait);
        if (alone) await wait;
      }
      await Promise.all(waits);
    });
    await fc.assert(property, { seed: 42, numRuns: 100 });
  });
});
