import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { compareUtf8, firstInvalidUtf8 } from "../../src/format/utf8.ts";

/** Length of the longest beginning that the platform's decoder takes, or -1 if that is all. */
function longestValid(bytes: Uint8Array): number {
  for (let end = bytes.length; ; end--) {
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, end));
      return end === bytes.length ? -1 : end;
    } catch {
      // One byte fewer, then.
    }
  }
}

/** Bytes at and around every border that the definition of UTF-8 has. */
const BORDERS = [
  ...[
    0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf4, 0xf5,
    0xff,
  ],
];

describe("firstInvalidUtf8", () => {
  it("agrees with the platform on all short sequences of border bytes", () => {
    for (const a of BORDERS) {
      for (const b of BORDERS) {
        for (const c of BORDERS) {
          const bytes = Uint8Array.of(a, b, c);
          const found = firstInvalidUtf8(bytes);
          if (found !== longestValid(bytes)) assert.fail(`${bytes}: ${found}, not ${longestValid(bytes)}`);
        }
      }
    }
  });

  it("agrees with the platform on longer ones", () => {
    const border = fc.constantFrom(...BORDERS);
    const character = fc
      .string({ unit: "binary", minLength: 1, maxLength: 3 })
      .map((text) => [...Buffer.from(text)]);
    const text = fc.array(fc.oneof(character, fc.array(border, { maxLength: 2 })), { maxLength: 6 });
    const property = fc.property(text, fc.nat(3), (parts, cut) => {
      const all = Uint8Array.from(parts.flat());
      const bytes = all.subarray(0, Math.max(all.length - cut, 0));
      assert.equal(firstInvalidUtf8(bytes), longestValid(bytes));
    });
    fc.assert(property, { seed: 48, numRuns: 3000 });
  });
});

describe("compareUtf8", () => {
  it("orders as the bytes do", () => {
    const text = fc.string({
      unit: fc.constantFrom("a", "b", "\0", "é", "\ud7ff", "\ue000", "\uffff", "😀", "\u{10ffff}"),
    });
    const property = fc.property(text, text, (a, b) => {
      assert.equal(Math.sign(compareUtf8(a, b)), Buffer.compare(Buffer.from(a), Buffer.from(b)));
    });
    fc.assert(property, { seed: 49, numRuns: 2000 });
  });
});
