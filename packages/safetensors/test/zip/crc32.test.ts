import assert from "node:assert/strict";
import { test } from "node:test";
import zlib from "node:zlib";
import fc from "fast-check";
import { crc32, crc32Before } from "../../src/zip/crc32.ts";
import { noise } from "../support.ts";

test("the checksum is that of zlib, in one piece or several, wherever the bytes lie", () => {
  assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
  assert.equal(crc32(new Uint8Array(0)), 0);
  const bytes = noise(200, 3);
  const range = fc.tuple(fc.nat(200), fc.nat(200), fc.nat(200));
  fc.assert(
    fc.property(range, (places) => {
      const [start, middle, end] = places.sort((a, b) => a - b);
      const whole = bytes.subarray(start, end);
      assert.equal(crc32(whole), zlib.crc32(whole));
      assert.equal(
        crc32(bytes.subarray(middle, end), crc32(bytes.subarray(start, middle))),
        zlib.crc32(whole),
      );
    }),
    { seed: 42, numRuns: 500 },
  );
});

test("the checksum of a whole is made of those of its pieces, in whatever order", () => {
  const bytes = noise(3000, 4);
  const cuts = fc.array(fc.nat(bytes.length), { maxLength: 6 });
  fc.assert(
    fc.property(cuts, fc.nat(5), (places, turn) => {
      const ends = [0, ...places, bytes.length].sort((a, b) => a - b);
      const pieces = ends.slice(1).map((end, place) => [ends[place]!, end] as const);
      const turned = pieces.map((_, place) => pieces[(place + turn) % pieces.length]!);
      let sum = 0;
      for (const [start, end] of turned)
        sum ^= crc32Before(crc32(bytes.subarray(start, end)), bytes.length - end);
      assert.equal(sum >>> 0, zlib.crc32(bytes));
    }),
    { seed: 43, numRuns: 200 },
  );
});

test("so it is where many bytes follow, more than 32 bits can count", () => {
  const first = noise(10, 5);
  const after = new Uint8Array(3 << 20);
  const whole = zlib.crc32(after, zlib.crc32(first));
  const known = crc32Before(zlib.crc32(first), after.length);
  assert.equal((known ^ zlib.crc32(after)) >>> 0, whole);
  const [far, farther] = [2 ** 40 + 12345, 2 ** 33 + 7];
  assert.equal(crc32Before(crc32Before(known, far), farther), crc32Before(known, far + farther));
  assert.notEqual(crc32Before(known, far), crc32Before(known, far % 2 ** 32));
});
