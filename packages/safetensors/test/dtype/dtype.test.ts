import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DTYPE_ORDER, DTYPES, elementCount, isDtype } from "../../src/dtype/dtype.ts";

describe("DTYPES", () => {
  it("has the reference's dtypes in its order", () => {
    const order =
      "BOOL F4 F6_E2M3 F6_E3M2 U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ " +
      "I16 U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64";
    assert.deepEqual(DTYPE_ORDER, order.split(" "));
  });

  it("has elements that fill whole items of their arrays, or whole bytes in fours", () => {
    for (const { array, bits } of Object.values(DTYPES)) {
      assert.equal((bits < 8 ? 4 * bits : bits) % (8 * array.BYTES_PER_ELEMENT), 0);
    }
  });
});

describe("isDtype", () => {
  it("knows exactly the names of the format", () => {
    assert.ok(DTYPE_ORDER.every(isDtype));
    for (const name of ["", "f32", "F8_E4M3FN", "toString", "__proto__"])
      assert.equal(isDtype(name), false, name);
  });
});

describe("elementCount", () => {
  it("is the product of the sizes, one for a scalar", () => {
    assert.equal(elementCount([]), 1);
    assert.equal(elementCount([2, 3, 4]), 24);
    assert.equal(elementCount([2, 0, 4]), 0);
  });
});
