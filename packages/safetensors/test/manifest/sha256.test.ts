import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import fc from "fast-check";
import { hex, sha256 } from "../../src/manifest/sha256.ts";
import { noise } from "../support.ts";

describe("sha256", () => {
  it("gives the digests of FIPS 180-4's examples", () => {
    const digestOf = (text: string): string => {
      const hash = sha256();
      hash.update(new TextEncoder().encode(text));
      return hex(hash.digest());
    };
    assert.equal(digestOf("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert.equal(
      digestOf("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    );
    assert.equal(digestOf(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  });

  it("agrees with node:crypto, however the bytes are cut", () => {
    const cuts = fc.record({
      length: fc.nat(400),
      sizes: fc.array(fc.integer({ min: 0, max: 130 }), { maxLength: 9 }),
    });
    fc.assert(
      fc.property(cuts, ({ length, sizes }) => {
        const bytes = noise(length, length + 1);
        const hash = sha256();
        let at = 0;
        for (const size of [...sizes, length]) {
          hash.update(bytes.subarray(at, at + size));
          at = Math.min(at + size, length);
        }
        assert.equal(hex(hash.digest()), createHash("sha256").update(bytes).digest("hex"));
      }),
      { seed: 42, numRuns: 500 },
    );
  });
});
