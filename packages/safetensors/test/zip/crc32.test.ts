import assert from "node:assert/strict";
import { test } from "node:test";
import zlib from "node:zlib";
import fc from "fast-check";
import { crc32 } from "../../src/zip/crc32.ts";
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
