import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { asTypedArray } from "../../src/dtype/typed-array.ts";

const numbers = Uint32Array.of(1, 0x80000000, 3);

/** The bytes of `numbers` at an odd place. */
function unaligned(): Uint8Array {
  const bytes = new Uint8Array(new ArrayBuffer(16), 1, 12);
  bytes.set(new Uint8Array(numbers.buffer));
  return bytes;
}

describe("asTypedArray", () => {
  it("is a view where the bytes are aligned", () => {
    const bytes = new Uint8Array(numbers.slice().buffer);
    const view = asTypedArray("U32", bytes, 2);
    assert.deepEqual(view, numbers.subarray(0, 2));
    bytes[0] = 9;
    assert.equal(view[0], 9);
  });

  it("is a copy of what is needed where they are not, a Buffer's too", () => {
    const bytes = unaligned();
    for (const same of [bytes, Buffer.from(bytes.buffer, 1, 12)]) {
      const copy = asTypedArray("U32", same, 2);
      assert.deepEqual(copy, numbers.subarray(0, 2));
      assert.equal(copy.buffer.byteLength, 8);
    }
  });

  it("is the array of the dtype, with two numbers for a complex element and raw bits for small floats", () => {
    const bytes = new Uint8Array(8);
    assert.deepEqual(asTypedArray("C64", bytes, 1), new Float32Array(2));
    assert.deepEqual(asTypedArray("I64", bytes, 1), new BigInt64Array(1));
    assert.deepEqual(asTypedArray("F16", bytes, 3), new Uint16Array(3));
    assert.deepEqual(asTypedArray("F6_E2M3", bytes, 4), new Uint8Array(3));
  });
});
