import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Dtype } from "../../src/dtype/dtype.ts";
import { encodeHeader, type TensorSpec } from "../../src/format/encode.ts";
import { raises } from "../support.ts";

const U8: TensorSpec = { dtype: "U8", shape: [] };
const encodeOne = (dtype: string, shape: number[]) => encodeHeader([["t", { dtype: dtype as Dtype, shape }]]);

describe("encodeHeader", () => {
  // test_serialization_forced_alignement, test_empty and friends are in reference-cases.test.ts.
  it("sorts by falling dtype, then by code points", () => {
    // In UTF-16 units the emoji (0xd83d) would come before U+E000 and U+FFFD.
    const names = ["\ufffd", "😀", "\ue000", "b", "", "a", "B", "é", "a\0", "\u{10ffff}"];
    const encoded = encodeHeader(names.map((name) => [name, U8]));
    const expected = ["", "B", "a", "a\0", "b", "é", "\ue000", "\ufffd", "😀", "\u{10ffff}"];
    assert.deepEqual(
      encoded.tensors.map(({ name }) => name),
      expected,
    );
    const bytewise = names.map((name) => Buffer.from(name)).sort(Buffer.compare);
    assert.deepEqual(
      expected,
      bytewise.map((name) => name.toString()),
    );
  });

  it("places the data at a multiple of the alignment", () => {
    for (const alignment of [8, 16, 64, 4096, 2 ** 20]) {
      const { bytes } = encodeHeader([["x", U8]], { alignment });
      assert.equal(bytes.length % alignment, 0);
      assert.equal(new DataView(bytes.buffer).getBigUint64(0, true), BigInt(bytes.length - 8));
      assert.match(Buffer.from(bytes.subarray(8)).toString(), /^\{.*\} *$/);
    }
  });

  it("keeps room for later edits, and changes nothing else", () => {
    const plain = encodeHeader([["x", U8]]).bytes;
    assert.deepEqual(encodeHeader([["x", U8]], { reserve: 0 }).bytes, plain);
    const json = Buffer.from(plain.subarray(8)).toString().trimEnd();
    for (const [reserve, alignment] of [
      [1, 8],
      [7, 8],
      [8, 8],
      [100, 8],
      [1, 4096],
      [5000, 4096],
    ] as const) {
      const { bytes } = encodeHeader([["x", U8]], { reserve, alignment });
      const text = Buffer.from(bytes.subarray(8)).toString();
      assert.equal(text.trimEnd(), json);
      assert.equal(bytes.length % alignment, 0);
      const room = text.length - json.length;
      assert.ok(room >= reserve && room < reserve + alignment, `${room} of ${reserve}, ${alignment}`);
    }
    for (const reserve of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => encodeHeader([], { reserve }), raises("OUT_OF_RANGE", /reserve/));
    }
    const expected = raises("HEADER_TOO_LARGE", /at most 100000000/, { limit: "MAX_HEADER_BYTES" });
    assert.throws(() => encodeHeader([], { reserve: 99_999_999 }), expected);
    assert.throws(() => encodeHeader([], { reserve: 2 ** 50 }), expected);
    assert.equal(encodeHeader([], { reserve: 99_999_998 }).bytes.length, 100_000_008);
  });

  it("refuses other alignments", () => {
    for (const alignment of [0, 1, 4, 7, 9, 24, -8, 8.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(
        () => encodeHeader([], { alignment }),
        raises("INVALID_TENSOR", /alignment .* power of two/),
      );
    }
  });

  it("refuses a header that could not be read back, before taking memory for it", () => {
    const expected = raises("HEADER_TOO_LARGE", /at most 100000000/, { limit: "MAX_HEADER_BYTES" });
    assert.throws(() => encodeHeader([], { alignment: 2 ** 27 }), expected);
    assert.throws(() => encodeHeader([], { alignment: 2 ** 40 }), expected);
    // The JSON is this text and 24 bytes around it.
    const longest = { metadata: { "": "x".repeat(99_999_976) } };
    assert.equal(encodeHeader([], longest).bytes.length, 100_000_008);
  });

  it("refuses names that no file can have", () => {
    const expected = raises("INVALID_NAME", /__metadata__/, { tensor: "__metadata__" });
    assert.throws(() => encodeHeader([["__metadata__", U8]]), expected);
    assert.throws(
      () => encodeHeader([["a\ud800", U8]]),
      raises("INVALID_NAME", /lone surrogate.*"a\\ud800"/),
    );
    const metadata = (key: string, value: string) => () => encodeHeader([], { metadata: { [key]: value } });
    assert.throws(metadata("\udc00", ""), raises("INVALID_NAME", /metadata key/));
    assert.throws(metadata("key", "\ud83d"), raises("INVALID_NAME", /metadata "key"/));
    assert.throws(
      metadata("key", 1 as unknown as string),
      raises("INVALID_NAME", /metadata "key" is not a string/),
    );
  });

  it("refuses a name that was given twice", () => {
    const twice = [
      ["a", U8],
      ["b", U8],
      ["a", { dtype: "F32", shape: [1] }],
    ] as const;
    assert.throws(
      () => encodeHeader(twice),
      raises("DUPLICATE_NAME", /"a" was given twice/, { tensor: "a" }),
    );
  });

  it("refuses what is no tensor", () => {
    for (const dtype of ["u8", "", "__proto__", "constructor", "F4 "]) {
      const expected = raises("INVALID_TENSOR", /tensor "t" has the unknown dtype/, { tensor: "t" });
      assert.throws(() => encodeOne(dtype, [1]), expected);
    }
    for (const size of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      assert.throws(() => encodeOne("U8", [2, size]), raises("INVALID_TENSOR", /dimension/, { tensor: "t" }));
    }
  });

  it("refuses elements that do not end on a whole byte", () => {
    for (const [dtype, shape] of [
      ["F4", [3]],
      ["F4", []],
      ["F6_E2M3", [2]],
      ["F6_E3M2", [3, 3]],
    ] as const) {
      assert.throws(
        () => encodeOne(dtype, [...shape]),
        raises("MISALIGNED", new RegExp(dtype), { tensor: "t" }),
      );
    }
    assert.equal(encodeOne("F4", [2]).dataLength, 1);
    assert.equal(encodeOne("F6_E2M3", [2, 2]).dataLength, 3);
    assert.equal(encodeOne("F4", [0]).dataLength, 0);
  });

  it("refuses sizes beyond 2^53 bytes, of one tensor and of all together", () => {
    assert.throws(() => encodeOne("U8", [2 ** 27, 2 ** 27]), raises("SIZE_OVERFLOW", /"t"/, { tensor: "t" }));
    const half = (name: string) => [name, { dtype: "U8", shape: [2 ** 52] }] as const;
    assert.equal(encodeHeader([half("a")]).dataLength, 2 ** 52);
    const both = () => encodeHeader([half("a"), half("b")]);
    assert.throws(both, raises("SIZE_OVERFLOW", /"b"/, { tensor: "b" }));
  });

  it("takes metadata from a Map or an object, empty or not", () => {
    const json = (metadata?: Record<string, string> | Map<string, string>) =>
      Buffer.from(encodeHeader([], { metadata }).bytes.subarray(8)).toString().trimEnd();
    assert.equal(json(), "{}");
    assert.equal(json({}), '{"__metadata__":{}}');
    assert.equal(json({ b: "1", a: '"\\\n\u2028' }), '{"__metadata__":{"a":"\\"\\\\\\n\u2028","b":"1"}}');
    const map = new Map([
      ["__proto__", "x"],
      ["10", "y"],
      ["9", "z"],
    ]);
    assert.equal(json(map), '{"__metadata__":{"10":"y","9":"z","__proto__":"x"}}');
  });
});
