import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { encodeHeader } from "../../src/format/encode.ts";
import { type Header, readHeaderLength } from "../../src/format/header.ts";
import { parseHeader } from "../../src/format/parse-header.ts";
import { editHeader, type HeaderChanges } from "../../src/save/edit.ts";
import { raises } from "../support.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Two tensors, metadata, fields and spaces that nobody needs, and 40 bytes of room. */
const JSON_TEXT = `{ "__metadata__" : {"format": "pt", "a":"1"} , "b\\u0061r":{"dtype":"U8", "shape":[2],"data_offsets":[4,6],"x":{"y":[1e3]}},
 "foo":{"data_offsets":[0,4],"dtype":"F32","shape":[]}}${" ".repeat(40)}`;
const DATA_LENGTH = 6;

const edited = (changes: HeaderChanges, text = JSON_TEXT, dataLength = DATA_LENGTH) =>
  editHeader(encode(text), dataLength, changes);
const textOf = (changes: HeaderChanges): string => decode(edited(changes).json);
const BAR = `{"dtype":"U8", "shape":[2],"data_offsets":[4,6],"x":{"y":[1e3]}}`;
const FOO = `{"data_offsets":[0,4],"dtype":"F32","shape":[]}`;

describe("editHeader", () => {
  it("leaves what is not to change as it is written, but for white space between members", () => {
    const metadata = `"__metadata__":{"format": "pt", "a":"1"}`;
    assert.equal(textOf({}), `{${metadata},"b\\u0061r":${BAR},"foo":${FOO}}`);
    assert.equal(textOf({ rename: new Map([["bar", "é\n"]]) }), `{${metadata},"é\\n":${BAR},"foo":${FOO}}`);
    const swap = new Map([
      ["bar", "foo"],
      ["foo", "bar"],
    ]);
    assert.equal(textOf({ rename: swap }), `{${metadata},"foo":${BAR},"bar":${FOO}}`);
  });

  it("sets and removes metadata, whose keys it sorts", () => {
    const tensors = `"b\\u0061r":${BAR},"foo":${FOO}}`;
    const both = { setMetadata: { z: "2", "": '"' }, removeMetadata: ["format"] };
    assert.equal(textOf(both), `{"__metadata__":{"":"\\"","a":"1","z":"2"},${tensors}`);
    assert.equal(
      textOf({ setMetadata: new Map([["a", "3"]]) }),
      `{"__metadata__":{"a":"3","format":"pt"},${tensors}`,
    );
    assert.equal(textOf({ removeMetadata: new Set(["format", "a"]) }), `{${tensors}`);
    const none = decode(edited({ setMetadata: { k: "v" } }, `{"foo":${FOO}}`, 4).json);
    assert.equal(none, `{"__metadata__":{"k":"v"},"foo":${FOO}}`);
    assert.equal(decode(edited({ setMetadata: { k: "v" } }, "{}", 0).json), '{"__metadata__":{"k":"v"}}');
    assert.equal(
      decode(edited({ setMetadata: { k: "v" } }, '{"__metadata__":null}', 0).json),
      '{"__metadata__":{"k":"v"}}',
    );
  });

  it("pads to the old length, and says how many bytes are left or missing", () => {
    const { json, room, bytes } = edited({});
    const length = encode(JSON_TEXT).length;
    assert.equal(room, length - json.length);
    assert.equal(readHeaderLength(bytes!, 8 + length + DATA_LENGTH), length);
    assert.equal(decode(bytes!.subarray(8)), decode(json).padEnd(length));
    const value = (size: number) => ({ setMetadata: { a: "1".repeat(size) } });
    const fits = edited(value(1)).room + 1;
    assert.equal(edited(value(fits)).room, 0);
    assert.equal(edited(value(fits)).bytes?.length, 8 + length);
    const { bytes: none, room: missing } = edited(value(fits + 7));
    assert.deepEqual([none, missing], [undefined, -7]);
  });

  it("refuses names that tensors cannot get", () => {
    const rename =
      (...pairs: [string, string][]) =>
      () =>
        edited({ rename: new Map(pairs) });
    assert.throws(rename(["baz", "x"]), raises("TENSOR_NOT_FOUND", /"baz" to rename/, { tensor: "baz" }));
    assert.throws(rename(["__metadata__", "x"]), raises("TENSOR_NOT_FOUND"));
    assert.throws(rename(["bar", "__metadata__"]), raises("INVALID_NAME", /"bar" cannot be named "__meta/));
    assert.throws(rename(["bar", "\ud800"]), raises("INVALID_NAME", /lone surrogate/));
    assert.throws(rename(["bar", "foo"]), raises("DUPLICATE_NAME", /there is one of that name/));
    assert.throws(rename(["bar", "foo"], ["foo", "foo"]), raises("DUPLICATE_NAME"));
    assert.throws(rename(["foo", "foo"], ["bar", "foo"]), raises("DUPLICATE_NAME"));
    assert.throws(rename(["bar", "x"], ["foo", "x"]), raises("DUPLICATE_NAME", /"bar" and "foo" would both/));
    rename(["bar", "bar"], ["foo", "x"])();
  });

  it("refuses metadata that cannot be", () => {
    assert.throws(() => edited({ removeMetadata: ["b"] }), raises("INVALID_NAME", /"b" cannot be removed/));
    const both = { setMetadata: { a: "2" }, removeMetadata: ["a"] };
    assert.throws(() => edited(both), raises("INVALID_NAME", /"a" cannot be removed: it is to be set/));
    const number = { setMetadata: { a: 1 as unknown as string } };
    assert.throws(() => edited(number), raises("INVALID_NAME", /"a" is not a string/));
    assert.throws(() => edited({ setMetadata: { "\udc00": "" } }), raises("INVALID_NAME", /surrogate/));
  });

  it("refuses a header that is not valid", () => {
    assert.throws(() => edited({}, `{"foo":${FOO}}`, 5), raises("TRAILING_BYTES"));
    assert.throws(() => edited({}, "{", 0), raises("INVALID_JSON"));
  });

  it("gives the header that the changes mean, or says that it does not fit (property)", () => {
    const names = fc.uniqueArray(fc.string({ unit: "grapheme", maxLength: 6 }), { maxLength: 6 });
    const metadata = fc.dictionary(fc.string({ maxLength: 4 }), fc.string({ unit: "binary", maxLength: 8 }));
    const input = fc.record({
      names,
      others: names,
      metadata,
      set: metadata,
      chosen: fc.array(fc.nat()),
      reserve: fc.nat(120),
    });
    const property = fc.property(input, ({ names, others, metadata, set, chosen, reserve }) => {
      fc.pre(![...names, ...others].includes("__metadata__"));
      fc.pre([metadata, set].every((all) => JSON.stringify(all).isWellFormed() && allWellFormed(all)));
      const tensors = names.map((name, i) => [name, { dtype: i % 2 ? "U8" : "F32", shape: [i] }] as const);
      const { bytes, dataLength } = encodeHeader(tensors, { metadata, reserve });
      const before = parseHeader(bytes.subarray(8), dataLength);
      const fresh = others.filter((name) => !names.includes(name));
      const rename = new Map(
        names.filter((_, i) => chosen.includes(i)).flatMap((name, i) => pair(name, fresh[i])),
      );
      const removed = Object.keys(metadata).filter(
        (key, i) => chosen.includes(i) && !Object.hasOwn(set, key),
      );
      const result = editHeader(bytes.subarray(8), dataLength, {
        setMetadata: set,
        removeMetadata: removed,
        rename,
      });
      assert.equal(result.json.length + result.room, bytes.length - 8);
      assert.equal(result.bytes !== undefined, result.room >= 0);
      const after = parseHeader(result.bytes?.subarray(8) ?? result.json, dataLength);
      const expected = new Map([...Object.entries(metadata), ...Object.entries(set)]);
      for (const key of removed) expected.delete(key);
      assert.deepEqual(sorted(after.metadata), sorted(expected));
      assert.deepEqual(
        infos(after),
        infos(before).map((info) => ({ ...info, name: rename.get(info.name) ?? info.name })),
      );
    });
    fc.assert(property, { seed: 42, numRuns: 300 });
  });
});

const pair = (from: string, to: string | undefined): [string, string][] =>
  to === undefined ? [] : [[from, to]];
const sorted = (map: ReadonlyMap<string, string>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
const infos = (header: Header) => [...header];
const allWellFormed = (all: Record<string, string>): boolean =>
  Object.entries(all).every(([key, value]) => key.isWellFormed() && value.isWellFormed());
