import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { castFloats, type FloatDtype } from "../../src/dtype/cast.ts";
import { DTYPES } from "../../src/dtype/dtype.ts";
import { fixture } from "../fixtures.ts";
import { raises } from "../support.ts";

// Written by interop/make_cast_goldens.py, which asked PyTorch.
const goldens: Record<FloatDtype, Record<string, string>> = JSON.parse(
  Buffer.from(fixture("cast-goldens.json")).toString("utf8"),
);

/** Elements of those inputs that are not all codes of a dtype. */
const count = 200_000;

function sequence(words: number): Uint8Array {
  const values = new Uint32Array(words);
  let value = 1;
  for (let i = 0; i < words; i++) {
    value = (Math.imul(value, 1664525) + 1013904223) >>> 0;
    values[i] = value;
  }
  return new Uint8Array(values.buffer);
}

function inputs(dtype: FloatDtype): Uint8Array {
  const size = DTYPES[dtype].bits / 8;
  if (size === 2) return new Uint8Array(Uint16Array.from({ length: 1 << 16 }, (_, code) => code).buffer);
  const bytes = sequence((count * size) / 4);
  if (dtype !== "F64") return bytes;
  const both = new Uint8Array(bytes.length * 2);
  both.set(bytes);
  both.set(bytes, bytes.length);
  for (let i = bytes.length + 7; i < both.length; i += 8) both[i] = (both[i]! & 0x80) | 0x3f;
  return both;
}

/** The bytes with every NaN replaced by zero. */
function withoutNan(dtype: FloatDtype, bytes: Uint8Array): Uint8Array {
  const size = DTYPES[dtype].bits / 8;
  const floats = new Float32Array(castFloats(dtype, "F32", bytes).buffer);
  for (const [index, value] of floats.entries())
    if (Number.isNaN(value)) bytes.fill(0, index * size, (index + 1) * size);
  return bytes;
}

describe("casting floats", () => {
  for (const [from, targets] of Object.entries(goldens) as [FloatDtype, Record<FloatDtype, string>][]) {
    for (const [to, expected] of Object.entries(targets) as [FloatDtype, string][]) {
      it(`from ${from} to ${to} is PyTorch's`, () => {
        const cast = withoutNan(to, castFloats(from, to, inputs(from)));
        assert.equal(createHash("sha256").update(cast).digest("hex"), expected);
      });
    }
  }

  it("keeps NaN, infinity and signs", () => {
    const special = Float32Array.of(Number.NaN, Infinity, -Infinity, -0, 65520, 1e-8);
    const bytes = new Uint8Array(special.buffer);
    assert.deepEqual(
      [...new Uint16Array(castFloats("F32", "F16", bytes).buffer)],
      [0x7e00, 0x7c00, 0xfc00, 0x8000, 0x7c00, 0],
    );
    assert.deepEqual(
      [...new Uint16Array(castFloats("F32", "BF16", bytes).buffer)].slice(0, 4),
      [0x7fc0, 0x7f80, 0xff80, 0x8000],
    );
  });

  it("gives new memory, and takes whole elements only", () => {
    const bytes = new Uint8Array(8);
    assert.notEqual(castFloats("F32", "F32", bytes).buffer, bytes.buffer);
    assert.throws(() => castFloats("F32", "F16", new Uint8Array(6)), raises("SIZE_MISMATCH", /6 bytes/));
  });
});
