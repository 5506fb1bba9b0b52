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

const WRITTEN = JSON_TEXT.trimEnd();
const MEMBER = `"__metadata__" : {"format": "pt", "a":"1"}`;

describe("editHeader", () => {
  it("leaves what is not to change as it is written", () => {
    assert.equal(textOf({}), WRITTEN);
    const renamed = textOf({ rename: new Map([["bar", "é\n"]]) });
    assert.equal(renamed, WRITTEN.replace('"b\\u0061r"', '"é\\n"'));
    const swap = new Map([
      ["bar", "foo"],
      ["foo", "bar"],
    ]);
    const swapped = WRITTEN.replace('"foo"', '"bar"').replace('"b\\u0061r"', '"foo"');
    assert.equal(textOf({ rename: swap }), swapped);
  });

  it("sets and removes metadata, whose keys it sorts", () => {
    const withMember = (member: string): string => WRITTEN.replace(MEMBER, member);
    const both = { setMetadata: { z: "2", "": '"' }, removeMetadata: ["format"] };
    assert.equal(textOf(both), withMember(`"__metadata__":{"":"\\"","a":"1","z":"2"}`));
    const one = { setMetadata: new Map([["a", "3"]]) };
    assert.equal(textOf(one), withMember(`"__metadata__":{"a":"3","format":"pt"}`));
  });

  it("takes digests out where names change, unless new ones are set", () => {
    const digests = '"sha256.data":"d","sha256.tensors":"t"';
    const text = WRITTEN.replace(MEMBER, `"__metadata__":{"a":"1",${digests}}`);
    const metadataAfter = (changes: HeaderChanges): string => {
      return /"__metadata__":(\{[^}]*\})/.exec(decode(edited(changes, text).json))![1]!;
    };
    const rename = new Map([["foo", "food"]]);
    assert.equal(metadataAfter({ setMetadata: { b: "2" } }), `{"a":"1","b":"2",${digests}}`);
    assert.equal(metadataAfter({ rename }), '{"a":"1"}');
    assert.equal(metadataAfter({ rename, removeMetadata: ["sha256.data"] }), '{"a":"1"}');
    const set = { "sha256.tensors": "new" };
    assert.equal(metadataAfter({ rename, setMetadata: set }), '{"a":"1","sha256.tensors":"new"}');
  });

  it("adds metadata to a header without, and takes them out, wherever they are", () => {
    const tensor = `"foo":${FOO}`;
    for (const [text, dataLength, added, removed] of [
      ["{}", 0, '{"__metadata__":{"k":"v"}}', "{}"],
      [`{ ${tensor}}`, 4, `{"__metadata__":{"k":"v"}, ${tensor}}`, `{ ${tensor}}`],
      ['{"__metadata__":null}', 0, '{"__metadata__":{"k":"v"}}', "{}"],
    ] as const) {
      const withKey = edited({ setMetadata: { k: "v" } }, text, dataLength).json;
      assert.equal(decode(withKey), added);
      assert.equal(decode(edited({ removeMetadata: ["k"] }, decode(withKey), dataLength).json), removed);
    }
    for (const [text, removed] of [
      [`{"__metadata__":{"k":"v"} , ${tensor}}`, `{ ${tensor}}`],
      [`{${tensor} , "__metadata__":{"k":"v"} }`, `{${tensor} }`],
      [`{${tensor},"__metadata__":{"k":"v"},"bar":${BAR}}`, `{${tensor},"bar":${BAR}}`],
    ] as const) {
      const length = text.includes("bar") ? DATA_LENGTH : 4;
      assert.equal(decode(edited({ removeMetadata: ["k"] }, text, length).json), removed);
    }
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
    const names = fc.uniqueArray(fc.string({ unit: "binary", maxLength: 6 }), { maxLength: 6 });
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
    fc.assert(property, { seed: 42, numRuns: 100 });
  });
});

const pair = (from: string, to: string | undefined): [string, string][] =>
  to === undefined ? [] : [[from, to]];
const sorted = (map: ReadonlyMap<string, string>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
const infos = (header: Header) => [...header];
const allWellFormed = (all: Record<string, string>): boolean =>
  Object.entries(all).every(([key, value]) => key.isWellFormed() && value.isWellFormed());
