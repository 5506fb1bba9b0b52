import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { fromBytes } from "../../src/source/memory.ts";
import { type WholeFileOptions, wholeFile } from "../../src/source/whole.ts";
import { noise, raises } from "../support.ts";
import { gatedSource, settle } from "./gated-source.ts";

const small: WholeFileOptions = { piece: 100, segment: 256 };

describe("wholeFile", () => {
  it("is the same source in memory, however it is cut", async () => {
    const size = fc.nat(2000);
    const cut = fc.record({
      piece: fc.integer({ min: 1, max: 700 }),
      segment: fc.integer({ min: 1, max: 700 }),
      concurrency: fc.integer({ min: 1, max: 9 }),
    });
    const ranges = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(900)), {
      maxLength: 20,
    });
    await fc.assert(
      fc.asyncProperty(size, cut, ranges, async (size, cut, ranges) => {
        const bytes = noise(size, size);
        let closed = 0;
        const original = { ...fromBytes(bytes, "original"), close: () => void closed++ };
        const source = await wholeFile(original, cut);
        assert.deepEqual([source.size, source.name, closed], [size, "original", 1]);
        for (const [place, most] of ranges) {
          const offset = Math.floor(place * size);
          const length = Math.min(most, size - offset);
          const expected = bytes.slice(offset, offset + length);
          assert.deepEqual(new Uint8Array(source.view!(offset, length)), expected);
          assert.deepEqual(new Uint8Array(await source.read(offset, length)), expected);
          const target = new Uint8Array(length);
          assert.equal(source.readInto!(offset, target), undefined);
          assert.deepEqual(target, expected);
        }
      }),
      { seed: 42, numRuns: 200 },
    );
  });

  it("reads each byte once, in large pieces side by side, and tells how far it is", async () => {
    const bytes = noise(600);
    const gated = gatedSource(bytes);
    const progress: number[] = [];
    const wait = wholeFile(gated, {
      ...small,
      concurrency: 3,
      onProgress({ bytes, totalBytes }) {
        assert.equal(totalBytes, 600);
        progress.push(bytes);
      },
    });
    assert.deepEqual(gated.ranges, ["0+100", "100+100", "200+56"]);
    gated.reads[1]!.pass();
    await settle();
    assert.deepEqual(gated.ranges.slice(3), ["256+100"]);
    for (let i = 0; i < gated.reads.length; i++) {
      gated.reads[i]!.pass();
      await settle();
    }
    const source = await wait;
    assert.deepEqual(gated.ranges.slice(4), ["356+100", "456+56", "512+88"]);
    assert.deepEqual(progress.slice(0, 2), [100, 200]);
    assert.equal(progress.at(-1), 600);
    assert.deepEqual(source.view!(0, 600), bytes);
    // Where a range lies together, nothing is copied.
    assert.equal(source.view!(0, 10).buffer, source.view!(200, 56).buffer);
    assert.equal(source.view!(0, 10).buffer.byteLength, 256);
  });

  it("refuses what is not inside it, and everything once it is closed", async () => {
    const source = await wholeFile(fromBytes(noise(600)), small);
    for (const [offset, length] of [
      [0, 601],
      [600, 1],
      [-1, 2],
      [0.5, 1],
      [0, Number.NaN],
    ] as const) {
      assert.throws(() => source.view!(offset, length), raises("OUT_OF_RANGE"));
      await assert.rejects(source.read(offset, length), raises("OUT_OF_RANGE"));
    }
    assert.throws(() => source.readInto!(599, new Uint8Array(2)), raises("OUT_OF_RANGE"));
    await source.close?.();
    assert.throws(() => source.view!(0, 1), raises("CLOSED"));
    await assert.rejects(source.read(0, 1), raises("CLOSED"));
  });

  it("ends all its reads when one fails, and closes the original after them", async () => {
    for (const heedsSignal of [true, false]) {
      const gated = gatedSource(noise(600), { heedsSignal });
      const wait = wholeFile(gated, small);
      const failed = assert.rejects(wait, /broken/);
      gated.reads[2]!.fail(new Error("broken"));
      await settle();
      assert.ok(gated.reads.every(({ signal }) => signal?.aborted));
      assert.equal(gated.isClosed, heedsSignal);
      for (const read of gated.reads) read.pass();
      await failed;
      assert.equal(gated.reads.length, 4);
      assert.equal(gated.isClosed, true);
    }
  });

  it("ends with the signal", async () => {
    const gated = gatedSource(noise(600));
    const controller = new AbortController();
    const wait = wholeFile(gated, { ...small, signal: controller.signal });
    controller.abort(new Error("enough"));
    await assert.rejects(wait, /enough/);
    assert.equal(gated.isClosed, true);
    const never = gatedSource(noise(600));
    await assert.rejects(wholeFile(never, { signal: controller.signal }), /enough/);
    assert.deepEqual([never.reads.length, never.isClosed], [0, true]);
  });

  it("fails with what the caller's progress throws", async () => {
    const wait = wholeFile(fromBytes(noise(600)), {
      ...small,
      onProgress() {
        throw new Error("mine");
      },
    });
    await assert.rejects(wait, /mine/);
  });

  it("takes no more memory than it may, and none for a source that lies", async () => {
    const expected = raises("LIMIT_EXCEEDED", /has 600 bytes, more than the 599/, { limit: "limit" });
    await assert.rejects(wholeFile(fromBytes(noise(600)), { limit: 599 }), expected);
    assert.equal((await wholeFile(fromBytes(noise(600)), { limit: 600 })).size, 600);
    for (const size of [2 ** 52, Number.POSITIVE_INFINITY, Number.NaN]) {
      const liar = { size, read: () => Promise.reject(new Error("not there")) };
      await assert.rejects(wholeFile(liar), raises("LIMIT_EXCEEDED"));
    }
    const far = { size: 2 ** 52, read: () => Promise.reject(new Error("not there")) };
    await assert.rejects(wholeFile(far, { ...small, limit: Number.POSITIVE_INFINITY }), /not there/);
  });

  it("refuses options that make no sense", async () => {
    for (const options of [{ piece: 0 }, { piece: 1.5 }, { segment: 0 }, { concurrency: 0 }, { piece: NaN }])
      await assert.rejects(wholeFile(fromBytes(noise(9)), options), raises("OUT_OF_RANGE", /whole number/));
  });
});
