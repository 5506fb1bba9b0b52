import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fromBlob } from "../../src/source/blob.ts";
import { byteSwapped } from "../../src/source/byte-swapped.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { noise, raises } from "../support.ts";

const bytes = noise(1000);

/** As DataView swaps. */
function expectedBytes(elementBytes: number, start: number, end: number): Uint8Array {
  const part = Buffer.from(bytes.subarray(start, end));
  if (elementBytes === 2) part.swap16();
  if (elementBytes === 4) part.swap32();
  if (elementBytes === 8) part.swap64();
  return new Uint8Array(part);
}

test("reads of any place and length give the bytes of each element in reverse", async () => {
  const choice = fc.record({
    power: fc.integer({ min: 0, max: 3 }),
    start: fc.nat(100),
    count: fc.nat(100),
    from: fc.double({ min: 0, max: 1, noNaN: true }),
    to: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  await fc.assert(
    fc.asyncProperty(choice, async ({ power, start, count, from, to }) => {
      const elementBytes = 2 ** power;
      const end = start + count * elementBytes;
      const whole = expectedBytes(elementBytes, start, end);
      const offset = Math.floor(Math.min(from, to) * whole.length);
      const length = Math.floor(Math.max(from, to) * whole.length) - offset;
      const expected = whole.subarray(offset, offset + length);
      for (const below of [fromBytes(bytes), fromBlob(new Blob([bytes]))]) {
        const source = byteSwapped(below, elementBytes, start, end);
        assert.equal(source.size, whole.length);
        assert.deepEqual(await source.read(offset, length), expected.slice());
        const target = new Uint8Array(length);
        await source.readInto!(offset, target);
        assert.deepEqual(target, expected.slice());
      }
    }),
    { seed: 42, numRuns: 300 },
  );
});

test("the source below stays as it is, and is read without waiting if it can be", () => {
  const copy = bytes.slice();
  const target = new Uint8Array(8);
  assert.equal(byteSwapped(fromBytes(copy), 4, 0, 1000).readInto!(4, target), undefined);
  assert.deepEqual(target, expectedBytes(4, 4, 12));
  assert.deepEqual(copy, bytes);
});

test("ranges outside, and parts of elements, are refused", async () => {
  const below = fromBytes(bytes);
  assert.throws(() => byteSwapped(below, 4, 0, 1004), raises("OUT_OF_RANGE"));
  assert.throws(() => byteSwapped(below, 4, 8, 4), raises("OUT_OF_RANGE"));
  assert.throws(() => byteSwapped(below, 4, 0, 10), raises("MISALIGNED", /10 bytes .* elements of 4/));
  for (const elementBytes of [0, 3, 16, Number.NaN]) {
    assert.throws(
      () => byteSwapped(below, elementBytes, 0, 48),
      raises("OUT_OF_RANGE", /of (\d+|NaN) bytes/),
    );
  }
  const source = byteSwapped(below, 4, 100, 200);
  await assert.rejects(source.read(96, 8), raises("OUT_OF_RANGE"));
  assert.throws(() => source.readInto!(101, new Uint8Array(0)), raises("OUT_OF_RANGE"));
});

test("closing it closes the source below", async () => {
  let closed = 0;
  const below = { ...fromBytes(bytes), close: () => void closed++ };
  await byteSwapped(below, 2, 0, 4).close!();
  assert.equal(closed, 1);
});
