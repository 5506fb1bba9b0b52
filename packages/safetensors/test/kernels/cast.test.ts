import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { castFloats, type FloatDtype, floatCaster } from "../../src/dtype/cast.ts";
import { castFloatsBy, kernelCaster } from "../../src/kernels/cast.ts";
import { kernelModule } from "../../src/kernels/module.ts";

const module = (await kernelModule())!;

const bytesOf = (array: Uint16Array | Uint32Array): Uint8Array => new Uint8Array(array.buffer);

/** All upper halves of a float, with lower ones that round down, up and to even; and some more, for a ragged end. */
function floats(): Uint8Array {
  const lower = [0, 1, 0x0fff, 0x1000, 0x7fff, 0x8000, 0x8001, 0xf000, 0xffff];
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
        const some = to === "F4" ? bytes.subarray(0, 4096) : bytes.subarray(65536 * 17);
        const cast = await kernelCaster("F32", to, options, "w");
        assert.ok(
          Buffer.from(cast(some)).equals(floatCaster("F32", to, options, "w")(some)),
          `${to} ${JSON.stringify(options)}`,
        );
      }
    }
  });
});
