import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import fc from "fast-check";
import { inflateSmall, SMALL_BYTES } from "../../src/zip/small-inflate.ts";
import { concat, noise } from "../support.ts";

const { Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED } = constants;
const STRATEGIES = [Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED];

/** Noise, runs, few symbols, skewed ones with codes of all lengths, and repeats from near and far. */
const data: fc.Arbitrary<Uint8Array> = fc
  .array(
    fc.record({
      kind: fc.nat(4),
      length: fc.oneof(fc.nat(20), fc.nat(600), fc.nat(12_000)),
      seed: fc.nat(1000),
    }),
    { maxLength: 5 },
  )
  .map((parts) => {
    const pieces: Uint8Array[] = [];
    for (const { kind, length, seed } of parts) {
      const random = noise(length, seed + 1);
      if (kind === 0) pieces.push(random);
      else if (kind === 1) pieces.push(new Uint8Array(length).fill(seed));
      else if (kind === 2) pieces.push(random.map((byte) => byte % 3));
      else if (kind === 3)
        pieces.push(random.map((byte, index) => (Math.clz32(byte * (index % 97)) << 3) ^ (byte >> 6)));
      else pieces.push(concat(pieces).slice(-length));
    }
    return concat(pieces).subarray(0, SMALL_BYTES);
  });

const packing = fc.record({
  level: fc.integer({ min: 0, max: 9 }),
  strategy: fc.constantFrom(...STRATEGIES),
  memLevel: fc.integer({ min: 1, max: 9 }),
});

/** What zlib makes of it, if it takes all of it for whole. */
function byZlib(packed: Uint8Array): Uint8Array | undefined {
  try {
    const { buffer, engine } = inflateRawSync(packed, {
      info: true,
      maxOutputLength: 2 ** 24,
    }) as unknown as {
      buffer: Uint8Array;
      engine: { bytesWritten: number };
    };
    return engine.bytesWritten === packed.length ? buffer : undefined;
  } catch {
    return undefined;
  }
}

/** The same result, also within a limit. */
function agree(packed: Uint8Array): void {
  const expected = byZlib(packed);
  const { bytes, short } = inflateSmall(packed, SMALL_BYTES);
  assert.ok(bytes.length <= SMALL_BYTES);
  if (short === "limit") assert.ok(bytes.length === SMALL_BYTES && expected?.length !== SMALL_BYTES);
  else assert.deepEqual(short === undefined ? bytes : undefined, expected && new Uint8Array(expected));
}

describe("small data", () => {
  it("is inflated as zlib does, whatever has packed it", () => {
    const property = fc.property(data, packing, fc.nat(), (plain, options, cut) => {
      const packed = deflateRawSync(plain, options);
      if (packed.length > SMALL_BYTES) return;
      assert.deepEqual(inflateSmall(packed, SMALL_BYTES), { bytes: plain.slice(), short: undefined });
      // As far as it is asked for.
      const limit = cut % (plain.length + 1);
      const short = limit < plain.length ? "limit" : undefined;
      assert.deepEqual(inflateSmall(packed, limit), { bytes: plain.slice(0, limit), short });
      // What comes before the end of the data stands.
      const part = inflateSmall(packed.subarray(0, cut % packed.length), SMALL_BYTES);
      assert.equal(part.short, "damaged");
      assert.deepEqual(part.bytes, plain.slice(0, part.bytes.length));
    });
    fc.assert(property, { seed: 42, numRuns: 500 });
  });

  it("is refused when zlib refuses it", () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(7)), { minLength: 1, maxLength: 4 });
    const property = fc.property(data, packing, damage, fc.boolean(), (plain, options, flips, early) => {
      const packed = new Uint8Array(deflateRawSync(plain.subarray(0, 4000), options));
      for (const [at, bit] of flips) packed[at % Math.min(packed.length, early ? 60 : 6000)]! ^= 1 << bit;
      agree(packed);
    });
    fc.assert(property, { seed: 42, numRuns: 1000 });
    // Noise is nearly never whole; where it begins as a block, more of the rules are reached.
    const block = fc.tuple(fc.constantFrom(1, 3, 5), fc.uint8Array({ maxLength: 60 }));
    const beginning = fc.property(block, ([first, rest]) =>
      agree(concat([Uint8Array.of(((rest[0] ?? 0) & 0xf8) | first), rest])),
    );
    fc.assert(beginning, { seed: 42, numRuns: 4000 });
  });

  it("is refused where the codes of a block are not complete, too many, or without an end", () => {
    for (const [bits, isWhole] of CODES) {
      const packed = bytesOf(bits);
      assert.equal(byZlib(packed) !== undefined, isWhole, bits);
      agree(packed);
    }
  });

  it("is refused if bytes follow it", () => {
    const plain = noise(100);
    const packed = concat([deflateRawSync(plain), new Uint8Array(1)]);
    assert.deepEqual(inflateSmall(packed, SMALL_BYTES), { bytes: plain, short: "damaged" });
  });

  it("comes to an end within the limit however often a block repeats", () => {
    const zeros = deflateRawSync(new Uint8Array(2 ** 22));
    assert.deepEqual(inflateSmall(zeros, SMALL_BYTES), {
      bytes: new Uint8Array(SMALL_BYTES),
      short: "limit",
    });
    const nothing = new Uint8Array(SMALL_BYTES).map((_, at) => (at % 5 < 3 ? 0 : 0xff));
    assert.deepEqual(inflateSmall(nothing, 10), { bytes: new Uint8Array(0), short: "damaged" });
  });
});

/** Bits of a number, the lowest first. */
const low = (value: number, count: number): string =>
  Array.from({ length: count }, (_, bit) => (value >> bit) & 1).join("");

/** Zeros among the lengths of codes, 11 or more: the code of symbol 18 is 0. Those of 0, 1 and 2 are 100, 101 and 110. */
const zeros = (count: number): string =>
  count > 138 ? `0 ${low(127, 7)} ${zeros(count - 138)}` : `0 ${low(count - 11, 7)}`;
const [NONE, ONE, TWO, AGAIN] = ["100", "101", "110", "111 00"];

/** A last block with dynamic codes. Lengths of the code of code lengths: 1 for 18, 3 for 16, 0, 1 and 2. */
const dynamic = (lengths: string, body: string, literals = 257, distances = 1): string => {
  const order = "3 0 1 3 0 0 0 0 0 0 0 0 0 0 0 3 0 3".split(" ").map((length) => low(Number(length), 3));
  return `1 01 ${low(literals - 257, 5)} ${low(distances - 1, 5)} ${low(14, 4)} ${order.join(" ")} ${lengths} ${body}`;
};

/** Blocks, and whether they are whole ones. */
const CODES: readonly (readonly [bits: string, isWhole: boolean])[] = [
  // Of a literal and the end, with no distances.
  [dynamic(`${zeros(97)} ${ONE} ${zeros(158)} ${ONE} ${NONE}`, "0 0 1"), true],
  // Of the end alone, in one bit, or another one than that.
  [dynamic(`${zeros(256)} ${ONE} ${NONE}`, "0"), true],
  [dynamic(`${zeros(256)} ${ONE} ${NONE}`, "1 0"), false],
  [dynamic(`${zeros(256)} ${TWO} ${NONE}`, "00"), false],
  [dynamic(`${zeros(96)} ${ONE} ${ONE} ${zeros(158)} ${ONE} ${NONE}`, "1"), false],
  [dynamic(`${zeros(96)} ${ONE} ${ONE} ${zeros(158)} ${NONE} ${NONE}`, "1"), false],
  // With a length of three; the distance is 1, in one bit, or none at all.
  [dynamic(`${zeros(97)} ${ONE} ${zeros(158)} ${TWO} ${TWO} ${ONE}`, "0 11 0 10", 258), true],
  [dynamic(`${zeros(97)} ${ONE} ${zeros(158)} ${TWO} ${TWO} ${ONE}`, "0 11 1 10", 258), false],
  [dynamic(`${zeros(97)} ${ONE} ${zeros(158)} ${TWO} ${TWO} ${ONE}`, "11 0 10", 258), false],
  [dynamic(`${zeros(97)} ${ONE} ${zeros(158)} ${TWO} ${TWO} ${NONE}`, "0 11 0 10", 258), false],
  [dynamic(`${zeros(97)} ${ONE} ${zeros(158)} ${TWO} ${TWO} ${TWO}`, "0 11 00 10", 258), false],
  // As many symbols as there can be, or more; a length repeated without one before, or beyond the end.
  [dynamic(`${zeros(256)} ${ONE} ${zeros(29)} ${zeros(30)}`, "0", 286, 30), true],
  [dynamic(`${zeros(256)} ${ONE} ${zeros(30)} ${zeros(30)}`, "0", 287, 30), false],
  [dynamic(`${zeros(256)} ${ONE} ${zeros(29)} ${zeros(31)}`, "0", 286, 31), false],
  [dynamic(`${AGAIN} ${zeros(253)} ${ONE} ${NONE}`, "0"), false],
  [dynamic(`${zeros(256)} ${ONE} ${NONE} ${AGAIN}`, "0", 257, 4), true],
  [dynamic(`${zeros(256)} ${ONE} ${NONE} ${AGAIN}`, "0", 257, 3), false],
  // With fixed codes: nothing, symbols that never occur, and a distance beyond the begin.
  [`1 10 0000000`, true],
  [`1 10 11000110 0000000`, false],
  [`1 10 10010001 0000001 11110 0000000`, false],
  [`1 10 10010001 0000001 00000 0000000`, true],
  [`1 10 10010001 0000001 00001 0000000`, false],
  // Stored: an empty block before another one, and a length that is not there twice.
  [`0 00 00000 ${low(0, 16)} ${low(0xffff, 16)} 1 10 0000000`, true],
  [`1 00 00000 ${low(1, 16)} ${low(0xfffe, 16)} 10101010`, true],
  [`1 00 00000 ${low(1, 16)} ${low(0xffff, 16)} 10101010`, false],
  ["1 11 00000", false],
];

/** Bits in the order of the stream. */
function bytesOf(bits: string): Uint8Array {
  const digits = bits.replaceAll(" ", "");
  const bytes = new Uint8Array(Math.ceil(digits.length / 8));
  for (let at = 0; at < digits.length; at++) bytes[at >> 3]! |= Number(digits[at]) << (at & 7);
  return bytes;
}
