import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { castFloats, type FloatDtype, floatCaster } from "../../src/dtype/cast.ts";
import { DTYPES } from "../../src/dtype/dtype.ts";
import { CAST_ROOM, castFloatsBy, kernelCaster } from "../../src/kernels/cast.ts";
import { kernelModule, ownKernelModule } from "../../src/kernels/module.ts";

const module = (await kernelModule())!;

const bytesOf = (array: Uint16Array | Uint32Array): Uint8Array => new Uint8Array(array.buffer);

/** All upper halves of a float, with lower ones that round down, up and to even; and some more, for a ragged end. */
function floats(): Uint8Array {
  const lower = [0, 1, 0x0fff, 0x1000, 0x1001, 0x3000, 0x7fff, 0x8000, 0x8001, 0xf000, 0xffff];
  return bytesOf(
    Uint32Array.from({ length: 65536 * lower.length + 5 }, (_, i) => {
      return (((i / lower.length) << 16) | lower[i % lower.length]!) >>> 0;
    }),
  );
}

const ALL: ReadonlyMap<FloatDtype, Uint8Array> = new Map<FloatDtype, Uint8Array>([
  ["F32", floats()],
  ["BF16", bytesOf(Uint16Array.from({ length: 65543 }, (_, i) => i))],
  ["F16", bytesOf(Uint16Array.from({ length: 65543 }, (_, i) => i))],
  ["F8_E4M3", Uint8Array.from({ length: 777 }, (_, i) => i)],
  ["F8_E5M2", Uint8Array.from({ length: 777 }, (_, i) => i)],
]);

describe("casts in WebAssembly", () => {
  for (const [from, bytes] of ALL) {
    for (const to of ["F32", "BF16", "F16", "F8_E4M3", "F8_E5M2"] as const) {
      it(`give for ${from} to ${to} the bytes of those in JavaScript`, () => {
        const [here, expected] = [castFloatsBy(module, from, to, bytes), castFloats(from, to, bytes)];
        assert.equal(here.length, expected.length);
        const wrong = here.findIndex((byte, i) => byte !== expected[i]);
        assert.equal(wrong, -1);
      });
    }
  }

  it("take bytes that are not aligned, and few", () => {
    for (const count of [0, 1, 15, 16, 17, 255, 256, 257]) {
      const bytes = Uint8Array.from({ length: count * 2 + 1 }, (_, i) => i * 7).subarray(1);
      assert.deepEqual(castFloatsBy(module, "BF16", "F32", bytes), castFloats("BF16", "F32", bytes));
    }
  });

  it("refuse what the others refuse", () => {
    assert.throws(() => castFloatsBy(module, "F32", "BF16", new Uint8Array(1023)), { code: "SIZE_MISMATCH" });
    assert.throws(() => castFloatsBy(module, "I8" as "F32", "BF16", new Uint8Array(1024)), {
      code: "UNSUPPORTED",
    });
  });

  it("are left to JavaScript where they are told to overflow or round otherwise", async () => {
    const bytes = ALL.get("F32")!;
    for (const to of ["F32", "BF16", "F16", "F8_E4M3", "F4"] as const) {
      for (const options of [
        {},
        { overflow: "saturate" },
        { overflow: "nonsaturate" },
        { stochastic: 1 },
      ] as const) {
        // F4 has no NaN.
        const some = to === "F4" ? bytes.subarray(0, 4096) : bytes.subarray(bytes.length - (1 << 20));
        const caster = await kernelCaster("F32", to, options, "w");
        assert.ok(
          Buffer.from(caster.cast(some)).equals(floatCaster("F32", to, options, "w")(some)),
          `${to} ${JSON.stringify(options)}`,
        );
        caster.release();
      }
    }
  });

  it("work in the memory of the kernels, and touch nothing else there", async () => {
    const own = (await ownKernelModule())!;
    const apart = own.setApart(2 << 20, CAST_ROOM);
    const dtypes = ["F32", "BF16", "F16", "F8_E4M3", "F8_E5M2"] as const;
    const same = fc.property(
      fc.constantFrom(...dtypes),
      fc.constantFrom(...dtypes),
      fc.integer({ min: 1, max: 150_000 }),
      fc.tuple(fc.nat(9), fc.nat(9)),
      fc.tuple(fc.boolean(), fc.boolean()),
      (from, to, count, [gap, gapAfter], [isInside, isAfterInside]) => {
        const all = ALL.get(from)!;
        const [size, sizeAfter] = [DTYPES[from].bits / 8, DTYPES[to].bits / 8];
        const given = Uint8Array.from({ length: count * size }, (_, i) => all[i % all.length]!);
        const expected = castFloats(from, to, given);
        apart.fill(99);
        const start = given.length + gap + gapAfter;
        const bytes = isInside ? apart.subarray(gap, gap + given.length) : given;
        bytes.set(given);
        const into = isAfterInside
          ? apart.subarray(start, start + count * sizeAfter)
          : new Uint8Array(count * sizeAfter);
        assert.equal(castFloatsBy(own, from, to, bytes, into), into);
        assert.ok(Buffer.from(into).equals(expected));
        assert.ok(Buffer.from(bytes).equals(given));
        const behind = isAfterInside ? start + into.length : gap + given.length;
        assert.ok(apart.subarray(behind, behind + 300).every((byte) => byte === 99));
      },
    );
    fc.assert(same, { seed: 42, numRuns: 120 });
    assert.throws(() => own.reserve(1 << 20), RangeError);
  });

  it("have memory of their own each when they are under way at the same time", async () => {
    const casters = await Promise.all([1, 2, 3].map(() => kernelCaster("F32", "BF16")));
    const memories = new Set(casters.map(({ memory }) => memory!.buffer));
    assert.equal(memories.size, 3);
    const inputs = casters.map(({ memory }, i) => memory!.subarray(0, 4096).fill(60 + i));
    const results = casters.map(({ cast }, i) => cast(inputs[i]!));
    for (const [i, result] of results.entries()) assert.ok(result.every((byte) => byte === 60 + i));
    for (const caster of casters) caster.release();
    assert.ok(memories.has((await kernelCaster("F16", "F32")).memory!.buffer));
  });
});
