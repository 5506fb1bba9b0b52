import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import fc from "fast-check";
import { decodeElement, toFloat32 } from "../../src/dtype/decode.ts";
import { DTYPE_ORDER, DTYPES, type Dtype } from "../../src/dtype/dtype.ts";
import { fixture } from "../fixtures.ts";

/** What NumPy, ml_dtypes and PyTorch make of every element; described in interop/make_dtype_goldens.py. */
interface Goldens {
  readonly patterns: Readonly<Record<string, readonly string[]>>;
  readonly sha256: Readonly<Record<string, string>>;
  readonly conversions: Readonly<Record<string, readonly (readonly [element: string, bits: string])[]>>;
}
const goldens: Goldens = JSON.parse(new TextDecoder().decode(fixture("dtype-goldens.json")));

/** Packs codes of `bits` bits, the first one in the lowest bits: written down as binary digits from the last to the first. */
function pack(codes: readonly (number | bigint)[], bits: number): Uint8Array {
  const digits = codes.map((code) => BigInt.asUintN(bits, BigInt(code)).toString(2).padStart(bits, "0"));
  const all = digits.reverse().join("");
  const bytes = new Uint8Array(Math.ceil(all.length / 8));
  for (let i = 0; i < bytes.length; i++) {
    const end = all.length - 8 * i;
    bytes[i] = Number.parseInt(all.slice(Math.max(end - 8, 0), end), 2);
  }
  return bytes;
}

const bitsOf = (floats: Float32Array): Uint32Array =>
  new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
const withOneNaN = (floats: Float32Array): Uint32Array =>
  bitsOf(floats).map((bits, i) => (Number.isNaN(floats[i]) ? 0x7fc00000 : bits));
const hex = (bits: Uint32Array): string[] => Array.from(bits, (word) => word.toString(16).padStart(8, "0"));

/** A bigint as float32 by the definition of rounding to nearest even, without any float on the way. */
function roundToFloat32(value: bigint): number {
  const magnitude = value < 0n ? -value : value;
  const dropped = BigInt(Math.max(magnitude.toString(2).length - 24, 0));
  const unit = 1n << dropped;
  const rest = magnitude % unit;
  let kept = magnitude / unit;
  if (2n * rest > unit || (2n * rest === unit && kept % 2n === 1n)) kept += 1n;
  return Number(value < 0n ? -kept : kept) * 2 ** Number(dropped);
}

const dtype = fc.constantFrom<Dtype>(...DTYPE_ORDER);
/** A dtype with a whole number of elements of it. */
const packed = fc.record({ dtype, blocks: fc.nat(9) }).chain(({ dtype, blocks }) => {
  const length = blocks * Math.max(DTYPES[dtype].bits / 8, 3);
  const count = Math.floor((length * 8) / DTYPES[dtype].bits);
  return fc.record({
    dtype: fc.constant(dtype),
    bytes: fc.uint8Array({ minLength: length, maxLength: length }),
    count: fc.constant(count),
  });
});

/** The same bytes at an odd place of other memory. */
function moved(bytes: Uint8Array, memory: ArrayBufferLike): Uint8Array {
  const place = new Uint8Array(memory, 1, bytes.length);
  place.set(bytes);
  return place;
}

describe("toFloat32", () => {
  for (const [dtype, expected] of Object.entries(goldens.patterns) as [Dtype, string[]][]) {
    it(`decodes every pattern of ${dtype} as the originals do`, () => {
      const bytes = pack([...expected.keys()], DTYPES[dtype].bits);
      assert.deepEqual(hex(withOneNaN(toFloat32(dtype, bytes, expected.length))), expected);
    });
  }

  for (const [dtype, expected] of Object.entries(goldens.sha256) as [Dtype, string][]) {
    it(`decodes every pattern of ${dtype} as the originals do`, () => {
      const bytes = new Uint8Array(Uint16Array.from({ length: 2 ** 16 }, (_, code) => code).buffer);
      const floats = withOneNaN(toFloat32(dtype, bytes, 2 ** 16));
      assert.equal(createHash("sha256").update(floats).digest("hex"), expected);
    });
  }

  for (const [dtype, pairs] of Object.entries(goldens.conversions) as [Dtype, [string, string][]][]) {
    it(`rounds ${dtype} as the originals do`, () => {
      const codes = pairs.map(([element]) => BigInt(dtype === "F64" ? `0x${element}` : element));
      const floats = toFloat32(dtype, pack(codes, DTYPES[dtype].bits), codes.length);
      assert.deepEqual(
        hex(withOneNaN(floats)),
        pairs.map(([, bits]) => bits),
      );
    });
  }

  it("rounds 64-bit integers once", () => {
    const rounds = (dtype: "I64" | "U64", values: fc.Arbitrary<bigint>) =>
      fc.assert(
        fc.property(values, (value) => {
          assert.equal(toFloat32(dtype, pack([value], 64), 1)[0], roundToFloat32(value));
        }),
        { seed: 42, numRuns: 2000 },
      );
    // Beside a midpoint between two floats, where going through a double would go wrong, and anywhere.
    const midpoint = fc
      .tuple(fc.nat(2 ** 24 - 1), fc.integer({ min: 0, max: 39 }), fc.integer({ min: -2, max: 2 }))
      .map(([top, shift, offset]) => ((BigInt(top) * 2n + 1n) << BigInt(shift)) + BigInt(offset));
    const signed = fc
      .tuple(midpoint, fc.constantFrom(1n, -1n))
      .map(([value, sign]) => BigInt.asIntN(64, value * sign));
    rounds("I64", fc.oneof(signed, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })));
    rounds(
      "U64",
      fc.oneof(
        midpoint.map((value) => BigInt.asUintN(64, value)),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      ),
    );
  });

  it("takes any byte but zero as true", () => {
    assert.deepEqual([...toFloat32("BOOL", Uint8Array.of(0, 1, 2, 128, 255), 5)], [0, 1, 1, 1, 1]);
  });

  it("gives C64 as real and imaginary parts in turn", () => {
    const parts = [1.5, -2.25, 0, 1e-40];
    const floats = toFloat32("C64", new Uint8Array(Float32Array.from(parts).buffer), 2);
    assert.deepEqual(floats, Float32Array.from(parts));
  });

  it("keeps sign and payload of NaNs", () => {
    const nans = (dtype: Dtype, codes: readonly number[]) =>
      hex(bitsOf(toFloat32(dtype, pack(codes, DTYPES[dtype].bits), codes.length)));
    assert.deepEqual(nans("F16", [0x7c01, 0xfe55]), ["7f802000", "ffcaa000"]);
    assert.deepEqual(nans("BF16", [0x7f81, 0xffc1, 0xff81]), ["7f810000", "ffc10000", "ff810000"]);
    assert.deepEqual(nans("F32", [0x7f800001, 0xffc12345]), ["7f800001", "ffc12345"]);
  });

  it("takes the low nibble of F4 first, and of F6 four elements in three bytes", () => {
    assert.deepEqual([...toFloat32("F4", Uint8Array.of(0x21, 0x43), 3)], [0.5, 1, 1.5]);
    // Codes 1, 2, 3, 4 as one little-endian number: 0b000100_000011_000010_000001 = 0x103081.
    assert.deepEqual(
      [...toFloat32("F6_E2M3", Uint8Array.of(0x81, 0x30, 0x10), 4)],
      [0.125, 0.25, 0.375, 0.5],
    );
  });

  it("does not depend on where the bytes lie, nor on what follows them", () => {
    fc.assert(
      fc.property(packed, ({ dtype, bytes, count }) => {
        const expected = bitsOf(toFloat32(dtype, bytes, count));
        const longer = new Uint8Array([...bytes, 0xaa, 0x55]);
        for (const same of [
          longer,
          moved(bytes, new ArrayBuffer(bytes.length + 1)),
          moved(bytes, new SharedArrayBuffer(bytes.length + 1)),
          Buffer.from(new Uint8Array([7, ...bytes]).buffer, 1),
        ]) {
          assert.deepEqual(bitsOf(toFloat32(dtype, same, count)), expected);
        }
      }),
      { seed: 42, numRuns: 300 },
    );
  });

  it("gives memory of its own", () => {
    for (const dtype of DTYPE_ORDER) {
      for (const bytes of [
        new Uint8Array(24),
        Buffer.from(new ArrayBuffer(24)),
        moved(new Uint8Array(24), new ArrayBuffer(25)),
      ]) {
        const floats = toFloat32(dtype, bytes, 3);
        assert.ok(floats.buffer instanceof ArrayBuffer && floats.buffer !== bytes.buffer, dtype);
        assert.equal(floats.byteLength, floats.buffer.byteLength, dtype);
      }
    }
  });

  it("refuses a count that the bytes do not hold", () => {
    for (const dtype of DTYPE_ORDER) {
      const bytes = new Uint8Array(24);
      const count = (24 * 8) / DTYPES[dtype].bits;
      assert.equal(toFloat32(dtype, bytes, count).length, dtype === "C64" ? 2 * count : count);
      assert.equal(toFloat32(dtype, bytes, 0).length, 0);
      for (const tooMany of [count + 1, 2 ** 53, Number.POSITIVE_INFINITY, Number.NaN, -8]) {
        assert.throws(
          () => toFloat32(dtype, bytes, tooMany),
          { code: "SIZE_MISMATCH" },
          `${tooMany} ${dtype}`,
        );
      }
    }
  });
});

describe("decodeElement", () => {
  it("agrees with toFloat32 at every index", () => {
    fc.assert(
      fc.property(packed, ({ dtype, bytes, count }) => {
        const floats = toFloat32(dtype, bytes, count);
        const elements = Array.from({ length: count }, (_, index) => decodeElement(dtype, bytes, index));
        const rounded = elements.flatMap((element) =>
          typeof element === "bigint"
            ? roundToFloat32(element)
            : typeof element === "number"
              ? Math.fround(element)
              : [...element],
        );
        assert.deepEqual(rounded, [...floats]);
      }),
      { seed: 42, numRuns: 500 },
    );
  });

  it("gives what a float32 cannot hold", () => {
    assert.equal(decodeElement("F64", new Uint8Array(Float64Array.of(0.1).buffer), 0), 0.1);
    assert.equal(decodeElement("I64", pack([-1n, -(2n ** 63n)], 64), 1), -(2n ** 63n));
    assert.equal(decodeElement("U64", pack([2n ** 64n - 1n], 64), 0), 2n ** 64n - 1n);
    assert.equal(decodeElement("U32", pack([0xffffffff], 32), 0), 0xffffffff);
    assert.deepEqual(decodeElement("C64", new Uint8Array(Float32Array.of(0, 0, 1, -2).buffer), 1), [1, -2]);
  });

  it("reads at odd places", () => {
    for (const [dtype, value] of [
      ["F64", 0.1],
      ["I64", -5n],
      ["I16", -2],
    ] as const) {
      const { array, bits } = DTYPES[dtype];
      const bytes = new Uint8Array((array as BigInt64ArrayConstructor).of(value as bigint).buffer);
      const place = moved(bytes, new ArrayBuffer(bits / 8 + 1));
      assert.equal(decodeElement(dtype, place, 0), value);
      assert.equal(decodeElement(dtype, Buffer.from(place.buffer, 1), 0), value);
    }
  });

  it("refuses an index that the bytes do not hold", () => {
    for (const dtype of DTYPE_ORDER) {
      const count = (24 * 8) / DTYPES[dtype].bits;
      decodeElement(dtype, new Uint8Array(24), count - 1);
      for (const index of [count, -1, 0.5, Number.NaN, 2 ** 60]) {
        assert.throws(
          () => decodeElement(dtype, new Uint8Array(24), index),
          { code: "OUT_OF_RANGE" },
          `${index} ${dtype}`,
        );
      }
    }
  });
});
