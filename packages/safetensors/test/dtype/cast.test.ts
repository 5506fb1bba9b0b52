import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type CastOptions, castFloats, type FloatDtype, isFloatDtype } from "../../src/dtype/cast.ts";
import { xoshiro128 } from "../../src/dtype/cast-stochastic.ts";
import { decodeElement, toFloat32 } from "../../src/dtype/decode.ts";
import { DTYPE_ORDER, DTYPES, type Dtype } from "../../src/dtype/dtype.ts";
import { fixture } from "../fixtures.ts";
import { concat, raises } from "../support.ts";

// Written by interop/make_cast_goldens.py, which asked NumPy, ml_dtypes and PyTorch.
const goldens: Record<FloatDtype, Record<FloatDtype, string>> = JSON.parse(
  Buffer.from(fixture("cast-goldens.json")).toString("utf8"),
);

const FLOATS = DTYPE_ORDER.filter(isFloatDtype);
const SMALL = FLOATS.filter((dtype) => DTYPES[dtype].bits <= 16);
const hasNan = (dtype: FloatDtype): boolean => DTYPES[dtype].bits >= 8;

/** Elements of the sequence of those dtypes of which not all codes are tried. */
const COUNT = 20_000;

const largestFloat32 = (2 - 2 ** -23) * 2 ** 127;

const bytesOf = (array: ArrayBufferView): Uint8Array<ArrayBuffer> =>
  new Uint8Array(array.buffer as ArrayBuffer, array.byteOffset, array.byteLength);

function once<Key, Value>(make: (key: Key) => Value): (key: Key) => Value {
  const made = new Map<Key, Value>();
  return (key) => {
    if (!made.has(key)) made.set(key, make(key));
    return made.get(key)!;
  };
}

/** Words by the generator of Numerical Recipes. */
const sequence = once((words: number): Uint32Array => {
  const values = new Uint32Array(words);
  let value = 1;
  for (let i = 0; i < words; i++) {
    value = (Math.imul(value, 1664525) + 1013904223) >>> 0;
    values[i] = value;
  }
  return values;
});

/** All codes of a dtype, packed. */
function allCodes(dtype: Dtype): Uint8Array {
  const { bits } = DTYPES[dtype];
  const codes = Uint16Array.from({ length: 2 ** bits }, (_, code) => code);
  if (bits === 16) return bytesOf(codes);
  const bytes = new Uint8Array((codes.length * bits) / 8);
  for (const code of codes)
    for (let bit = 0; bit < bits; bit++) {
      const at = code * bits + bit;
      bytes[at >> 3]! |= ((code >> bit) & 1) << (at & 7);
    }
  return bytes;
}

/** The finite values of a dtype that are not negative, by code. */
const magnitudesOf = once((dtype: FloatDtype): Float64Array => {
  const values = toFloat32(dtype, allCodes(dtype), 2 ** DTYPES[dtype].bits);
  const half = dtype === "F8_E8M0" ? values : values.subarray(0, values.length / 2);
  return Float64Array.from(half.filter((value) => Number.isFinite(value)));
});

/** The values of a dtype from zero on, and what follows the last one were there no end. */
function stepsOf(dtype: FloatDtype): [lower: Float64Array, upper: Float64Array] {
  if (dtype === "F32") {
    const below = sequence(COUNT).map((word) => word % 0x7f800000);
    const [lower, upper] = [below, below.map((word) => word + 1)].map(
      (words) => new Float64Array(new Float32Array(words.buffer)),
    );
    return [lower!, upper!.map((value) => (value === Infinity ? 2 ** 128 : value))];
  }
  const lower = magnitudesOf(dtype);
  const [before, last] = lower.subarray(-2) as unknown as [number, number];
  const upper = new Float64Array(lower.length);
  upper.set(lower.subarray(1));
  upper[upper.length - 1] = dtype === "F8_E8M0" ? 2 * last : 2 * last - before;
  return [lower, upper];
}

/** Values of the target and midpoints between them, each with its neighbours in the source, and all that negated. */
function edges(target: FloatDtype, source: "F64" | "F32"): Uint8Array {
  if (target === "F64") return new Uint8Array(0);
  const [lower, upper] = stepsOf(target);
  const middles = lower.map((value, i) => (value + upper[i]!) / 2);
  const doubles = new Float64Array(concat([lower, middles].map(bytesOf)).buffer);
  const points = source === "F64" ? doubles : new Float32Array(doubles);
  const around = concat([beside(points, -1), bytesOf(points), beside(points, 1)]);
  const negative = around.slice();
  const size = DTYPES[source].bits / 8;
  for (let at = size - 1; at < negative.length; at += size) negative[at]! ^= 0x80;
  return concat([around, negative]);
}

/** The floats before or after these, which are not negative; nothing comes before zero. */
function beside(floats: Float64Array | Float32Array, step: 1 | -1): Uint8Array {
  const words = new Uint32Array(floats.slice().buffer);
  const each = words.length / floats.length;
  const carry = step > 0 ? 0 : 0xffffffff;
  for (let at = 0; at < words.length; at += each) {
    if (floats[at / each] === 0 && step < 0) continue;
    words[at]! += step;
    if (each === 2 && words[at] === carry) words[at + 1]! += step;
  }
  return bytesOf(words);
}

/** The input that the goldens were made of. */
function inputs(source: FloatDtype, target: FloatDtype): Uint8Array {
  let bytes: Uint8Array;
  if (source === "F32") bytes = concat([bytesOf(sequence(COUNT)), edges(target, source)]);
  else if (source === "F64") {
    const random = bytesOf(sequence(2 * COUNT));
    const near = random.slice();
    for (let at = 7; at < near.length; at += 8) near[at] = (near[at]! & 0x80) | 0x3f;
    bytes = concat([random, near, edges(target, source)]);
  } else bytes = allCodes(source);
  return hasNan(target) ? bytes : withoutNan(source, bytes);
}

/** The bytes with every NaN replaced by zero. */
function withoutNan(dtype: FloatDtype, bytes: Uint8Array): Uint8Array {
  const { bits } = DTYPES[dtype];
  if (!hasNan(dtype)) return bytes;
  const floats =
    dtype === "F64"
      ? new Float64Array(new Uint8Array(bytes).buffer)
      : toFloat32(dtype, bytes, (bytes.length * 8) / bits);
  for (let i = 0; i < floats.length; i++)
    if (Number.isNaN(floats[i])) bytes.fill(0, (i * bits) / 8, ((i + 1) * bits) / 8);
  return bytes;
}

const cast = (from: FloatDtype, to: FloatDtype, values: ArrayBufferView, options?: CastOptions): number[] => [
  ...castFloats(from, to, bytesOf(values), options),
];

describe("casting floats", () => {
  it("knows every dtype of floats", () => {
    assert.deepEqual([...FLOATS].sort(), Object.keys(goldens).sort());
    assert.equal(isFloatDtype("C64"), false);
  });

  for (const from of FLOATS) {
    it(`from ${from} is what the originals do`, () => {
      for (const to of FLOATS) {
        if (from === to) continue;
        const hash = createHash("sha256");
        const bytes = inputs(from, to);
        for (const overflow of ["nonsaturate", "saturate"] as const)
          hash.update(withoutNan(to, castFloats(from, to, bytes, { overflow })));
        assert.equal(hash.digest("hex"), goldens[from][to], `to ${to}`);
      }
    });
  }

  it("gives the nearest of all values, of two the one with an even code", () => {
    const value = fc.oneof(fc.double({ noNaN: true }), fc.double({ min: -500, max: 500, noNaN: true }));
    const property = fc.property(fc.constantFrom(...SMALL), value, (to, value) => {
      if (to === "F8_E8M0") return;
      const four = castFloats("F64", to, bytesOf(new Float64Array(4).fill(value)), { overflow: "saturate" });
      const found = decodeElement(to, four, 0) as number;
      const all = magnitudesOf(to);
      // Far above, all values would be as far away.
      const magnitude = Math.min(Math.abs(value), all.at(-1)!);
      const distance = (code: number) => Math.abs(all[code]! - magnitude);
      let nearest = 0;
      for (let code = 1; code < all.length; code++) {
        const closer = distance(code) - distance(nearest);
        if (closer < 0 || (closer === 0 && code % 2 === 0)) nearest = code;
      }
      assert.equal(Math.abs(found), all[nearest], `${value} as ${to}`);
      const zeroLosesSign = to.endsWith("FNUZ") && nearest === 0;
      assert.equal(
        Object.is(Math.sign(found), -0) || found < 0,
        !zeroLosesSign && (value < 0 || Object.is(value, -0)),
      );
    });
    fc.assert(property, { seed: 42, numRuns: 300 });
  });

  it("keeps the order", () => {
    const values = fc.float64Array({ minLength: 8, maxLength: 64, noNaN: true }).map((array) => array.sort());
    const property = fc.property(fc.constantFrom(...FLOATS), values, (to, values) => {
      if (to === "F64" || to === "F8_E8M0") return;
      const whole = values.subarray(0, values.length - (values.length % 4));
      const bytes = castFloats("F64", to, bytesOf(new Float64Array(whole)), { overflow: "saturate" });
      const floats = toFloat32(to, bytes, whole.length);
      for (let i = 1; i < floats.length; i++) assert.ok(floats[i - 1]! <= floats[i]!, to);
    });
    fc.assert(property, { seed: 42, numRuns: 200 });
  });

  it("changes nothing that the dtype can hold, however it rounds", () => {
    for (const dtype of SMALL)
      for (const wider of ["F64", "F32"] as const)
        for (const stochastic of [undefined, 7]) {
          const codes = withoutNan(dtype, allCodes(dtype));
          const wide = castFloats(dtype, wider, codes);
          assert.deepEqual(
            castFloats(wider, dtype, wide, { overflow: "nonsaturate", stochastic }),
            codes,
            dtype,
          );
        }
  });

  it("keeps NaN, its sign, infinity and negative zero, where the dtype has them", () => {
    const special = Float32Array.of(Infinity, -Infinity, -0, 1e6, 0, 0, 0, 0);
    new Uint32Array(special.buffer).set([0x7f800001, 0xffc12345, 0x7fffffff, 0xff800001], 4);
    const codes: [FloatDtype, ArrayBufferView][] = [
      ["F16", Uint16Array.of(0x7c00, 0xfc00, 0x8000, 0x7c00, 0x7e00, 0xfe00, 0x7e00, 0xfe00)],
      ["BF16", Uint16Array.of(0x7f80, 0xff80, 0x8000, 0x4974, 0x7fc0, 0xffc0, 0x7fc0, 0xffc0)],
      ["F8_E4M3", Uint8Array.of(0x7e, 0xfe, 0x80, 0x7e, 0x7f, 0xff, 0x7f, 0xff)],
      ["F8_E5M2", Uint8Array.of(0x7c, 0xfc, 0x80, 0x7c, 0x7f, 0xff, 0x7f, 0xff)],
      ["F8_E4M3FNUZ", Uint8Array.of(0x80, 0x80, 0, 0x80, 0x80, 0x80, 0x80, 0x80)],
      ["F8_E5M2FNUZ", Uint8Array.of(0x80, 0x80, 0, 0x80, 0x80, 0x80, 0x80, 0x80)],
      ["F8_E8M0", Uint8Array.of(0xff, 0xff, 0, 0x93, 0xff, 0xff, 0xff, 0xff)],
    ];
    for (const [to, expected] of codes)
      assert.deepEqual(cast("F32", to, special), [...bytesOf(expected)], to);
    const doubles = new Uint32Array(castFloats("F32", "F64", bytesOf(special)).buffer);
    assert.deepEqual([...doubles.subarray(8, 12)], [0, 0x7ff80000, 0, 0xfff80000]);
    assert.deepEqual(
      [...new Uint32Array(castFloats("F64", "F32", bytesOf(doubles)).buffer)].slice(4),
      [0x7fc00000, 0xffc00000, 0x7fc00000, 0xffc00000],
    );
  });

  it("saturates where it is asked to", () => {
    const large = Float64Array.of(Infinity, -Infinity, 1e300, 465);
    const saturated = (to: FloatDtype) => cast("F64", to, large, { overflow: "saturate" });
    assert.deepEqual(saturated("F8_E4M3"), cast("F64", "F8_E4M3", large));
    assert.deepEqual(saturated("F8_E4M3"), [0x7e, 0xfe, 0x7e, 0x7e]);
    assert.deepEqual(cast("F64", "F8_E4M3", large, { overflow: "nonsaturate" }), [0x7f, 0xff, 0x7f, 0x7f]);
    assert.deepEqual(saturated("F8_E5M2"), [0x7b, 0xfb, 0x7b, 0x5f]);
    assert.deepEqual(saturated("F8_E4M3FNUZ"), [0x7f, 0xff, 0x7f, 0x7f]);
    assert.deepEqual(saturated("F8_E8M0"), [0xfe, 0xfe, 0xfe, 0x88]);
    for (const overflow of ["nonsaturate", "saturate"] as const)
      assert.deepEqual(cast("F64", "F4", large, { overflow }), [0xf7, 0x77]);
    const [inf, ...others] = new Float32Array(Uint8Array.from(saturated("F32")).buffer);
    assert.deepEqual([inf, ...others], [largestFloat32, -largestFloat32, largestFloat32, 465]);
  });

  it("refuses NaN as F6 and F4", () => {
    const bytes = bytesOf(Float32Array.of(1, 2, 3, Number.NaN));
    for (const to of ["F4", "F6_E2M3", "F6_E3M2"] as const)
      for (const stochastic of [undefined, 1])
        assert.throws(
          () => castFloats("F32", to, bytes, { stochastic }),
          raises("UNSUPPORTED", new RegExp(`element 3 is NaN, which ${to} has no code for`)),
        );
    assert.throws(
      () => castFloats("F8_E4M3", "F4", Uint8Array.of(0xff, 0)),
      raises("UNSUPPORTED", /element 0/),
    );
  });

  it("gives new memory, takes whole elements at any address, and floats only", () => {
    const bytes = new Uint8Array(8);
    assert.notEqual(castFloats("F32", "F32", bytes).buffer, bytes.buffer);
    assert.throws(() => castFloats("F32", "F16", new Uint8Array(6)), raises("SIZE_MISMATCH", /6 bytes/));
    assert.throws(
      () => castFloats("F32", "F4", new Uint8Array(12)),
      raises("SIZE_MISMATCH", /3 elements of F4/),
    );
    for (const other of ["I8", "BOOL", "C64"] as const) {
      assert.throws(() => castFloats(other as "F16", "F32", bytes), raises("UNSUPPORTED", new RegExp(other)));
      assert.throws(() => castFloats("F32", other as "F16", bytes), raises("UNSUPPORTED", new RegExp(other)));
    }
    const moved = concat([new Uint8Array(1), bytesOf(Float32Array.of(1, -2))]).subarray(1);
    assert.deepEqual([...castFloats("F32", "BF16", moved)], [0x80, 0x3f, 0, 0xc0]);
    assert.equal(castFloats("F16", "F4", new Uint8Array(0)).length, 0);
  });
});

describe("stochastic rounding", () => {
  const count = 40_000;

  it("goes to the two neighbours, as often as they are near", () => {
    for (const [to, value, below, above] of [
      ["F8_E4M3", 1.03125, 1, 1.125],
      ["F8_E4M3FNUZ", -0.0001, 0, -(2 ** -10)],
      ["F8_E5M2", -57000, -49152, -57344],
      ["F8_E8M0", 3.2, 2, 4],
      ["F6_E3M2", 21, 20, 24],
      ["F4", 0.1, 0, 0.5],
      ["F16", 1 + 2 ** -12, 1, 1 + 2 ** -10],
      ["BF16", 1 + 2 ** -10, 1, 1 + 2 ** -7],
      ["F32", 1 + 2 ** -26, 1, 1 + 2 ** -23],
    ] as const) {
      const bytes = castFloats("F64", to, bytesOf(new Float64Array(count).fill(value)), { stochastic: 3 });
      const floats = toFloat32(to, bytes, count);
      const up = floats.reduce((sum, each) => sum + Number(each === above), 0);
      assert.equal(up + floats.reduce((sum, each) => sum + Number(each === below), 0), count, to);
      const chance = (value - below) / (above - below);
      // Five standard deviations.
      const most = 5 * Math.sqrt(chance * (1 - chance) * count);
      assert.ok(Math.abs(up - chance * count) < most, `${to}: ${up} of ${count}, expected ${chance}`);
    }
  });

  it("draws from xoshiro128**", () => {
    // The first outputs of the authors' C program from this state.
    const next = xoshiro128(0x964d4a0c, 0xd40ab895, 0xad7fdecb, 0x3006f0f0);
    assert.deepEqual([next(), next(), next(), next()], [0xf1391922, 0x6fe53806, 0xa5be2840, 0xf510ee70]);
  });

  it("is the same for the same seed only", () => {
    const values = Float32Array.from({ length: 1000 }, (_, i) => i / 999);
    const [first, again, other] = [5, 5, 6].map((stochastic) =>
      cast("F32", "F8_E4M3", values, { stochastic }),
    );
    assert.deepEqual(first, again);
    assert.notDeepEqual(first, other);
    assert.notDeepEqual(first, cast("F32", "F8_E4M3", values));
  });

  it("leaves what is too large or too small as it would be without", () => {
    const small = Float32Array.of(0, -0, 2 ** -130, 2 ** -127);
    assert.deepEqual(cast("F32", "F8_E8M0", small, { stochastic: 1 }), [0, 0, 0, 0]);
    const large = Float32Array.of(448, 464, 500, -Infinity);
    for (const overflow of ["nonsaturate", "saturate"] as const)
      assert.deepEqual(
        cast("F32", "F8_E4M3", large, { overflow, stochastic: 1 }),
        cast("F32", "F8_E4M3", large, { overflow }),
      );
  });
});
