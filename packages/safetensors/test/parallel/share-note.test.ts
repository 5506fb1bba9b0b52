import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  dataOfNote,
  findNote,
  groupNotes,
  readNote,
  type ShareNote,
  writeNote,
} from "../../src/parallel/share-note.ts";
import { raises } from "../support.ts";

const whole = { tensors: 3, sha256: "0".repeat(64) };
const note: ShareNote = {
  rank: 1,
  world: { tp: 2, pp: 1, ep: 1, dp: 1 },
  order: ["pp", "dp", "ep", "tp"],
  whole,
  cuts: new Map([
    ["b", { shape: [4, 2], cut: [{ axis: 0, ranges: [{ start: 2, stop: 4, step: 2 }], padding: 1 }] }],
    [
      "a.*.w",
      {
        shape: [4],
        cut: [
          {
            axis: 0,
            ranges: [
              { start: 0, stop: 1 },
              { start: 2, stop: 3 },
            ],
          },
        ],
      },
    ],
    ["c", { shape: [2], cut: [], data: "0a0b" }],
  ]),
};

describe("what a rank's file says of itself", () => {
  it("is text, the same for the same, and read again", () => {
    const text = writeNote(note);
    assert.equal(
      text,
      `{"version":1,"rank":1,"world":{"tp":2,"pp":1,"ep":1,"dp":1},"order":["pp","dp","ep","tp"],"whole":{"tensors":3,"sha256":"${whole.sha256}"},"cuts":{"a.*.w":{"shape":[4],"cut":[{"axis":0,"ranges":[[0,1],[2,3]]}]},"b":{"shape":[4,2],"cut":[{"axis":0,"ranges":[[2,4,2]],"padding":1}]},"c":{"shape":[2],"cut":[],"data":"0a0b"}}}`,
    );
    assert.deepEqual(readNote(text), note);
    assert.equal(writeNote({ ...note, cuts: new Map([...note.cuts].reverse()) }), text);
    assert.deepEqual(findNote(note, "a.7.w"), note.cuts.get("a.*.w"));
    assert.equal(findNote(note, "d"), undefined);
    assert.deepEqual(dataOfNote("c", "U8", note.cuts.get("c")!), Uint8Array.of(10, 11));
  });

  it("has names of which JavaScript makes something else", () => {
    const cuts = new Map([
      ["__proto__", note.cuts.get("b")!],
      ["constructor", note.cuts.get("b")!],
    ]);
    const again = readNote(writeNote({ ...note, cuts }));
    assert.deepEqual([...again.cuts.keys()], ["__proto__", "constructor"]);
    assert.equal(findNote(note, "toString"), undefined);
  });

  it("says the same of each tensor when those of a kind are grouped", () => {
    const cut = fc.constantFrom(
      undefined,
      ...[1, 2].map((stop) => ({ shape: [4], cut: [{ axis: 0, ranges: [{ start: 0, stop }] }] })),
    );
    const names = fc.constantFrom("a.0.w", "a.1.w", "a.2.w", "a.*.w", "b", "a.0.1.w", "a.1.1.w");
    const property = fc.property(
      fc.uniqueArray(fc.tuple(names, cut), { selector: ([name]) => name }),
      (entries) => {
        const cuts = groupNotes(new Map(entries));
        for (const [name, expected] of entries) assert.deepEqual(findNote({ ...note, cuts }, name), expected);
      },
    );
    fc.assert(property, { seed: 42, numRuns: 300 });
  });

  const refuses = (change: (value: Record<string, unknown>) => void, message: RegExp): void => {
    const value = JSON.parse(writeNote(note));
    change(value);
    assert.throws(() => readNote(JSON.stringify(value)), raises("INVALID_INDEX", message));
  };

  it("is refused when it is not as it should be", () => {
    assert.throws(() => readNote("{"), raises("INVALID_INDEX", /no JSON/));
    assert.throws(() => readNote("[]"), raises("INVALID_INDEX", /no object/));
    assert.throws(() => readNote("null"), raises("INVALID_INDEX", /no object/));
    assert.throws(
      () => readNote(writeNote(note).replace('"version":1', '"version":2')),
      raises("UNSUPPORTED", /version 2/),
    );
    const changes: [string, unknown, RegExp][] = [
      ["version", "1", /of what/],
      ["rank", 2, /no such rank in a world of 2/],
      ["rank", -1, /no such rank/],
      ["rank", 0.5, /no such rank/],
      ["world", { tp: 0 }, /0 is no number of tp ranks/],
      ["world", { tp: 1e9 }, /more than/],
      ["world", [], /"world" is no object/],
      ["order", ["tp"], /does not name each/],
      ["order", [["dp"], "ep", "pp", "tp"], /no list of names/],
      ["whole", { tensors: 1 }, /of what/],
      ["whole", null, /"whole" is no object/],
      ["cuts", [], /"cuts" is no object/],
      ["cuts", { a: 1 }, /said of "a" is no object/],
      ["cuts", { a: { shape: [2] } }, /no shape and cut/],
      ["cuts", { a: { shape: [-2], cut: [] } }, /no shape and cut/],
      ["cuts", { a: { shape: [2], cut: [], data: "0x" } }, /no shape and cut/],
      ["cuts", { a: { shape: [2], cut: [{ axis: 0 }] } }, /no axis and ranges/],
      ["cuts", { a: { shape: [2], cut: [{ axis: 1, ranges: [[0, 1]] }] } }, /no axis 1 left/],
      ["cuts", { a: { shape: [2], cut: [{ axis: 0, ranges: [[0, 3]] }] } }, /0:3:1 is no part/],
      ["cuts", { a: { shape: [2], cut: [{ axis: 0, ranges: [[1]] }] } }, /range of "a"/],
      ["cuts", { a: { shape: [2], cut: [{ axis: 0, ranges: [[0, 1, 0]] }] } }, /no part/],
      ["cuts", { a: { shape: [2], cut: [{ axis: 0, ranges: [], padding: -1 }] } }, /no axis and ranges/],
    ];
    for (const [key, value, message] of changes)
      refuses((all) => Object.assign(all, { [key]: value }), message);
    assert.throws(
      () => dataOfNote("c", "I64", note.cuts.get("c")!),
      raises("INVALID_INDEX", /does not fill I64 \[2\]/),
    );
  });

  it("never makes anything but our errors, whatever it is", () => {
    const property = fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
      assert.throws(() => readNote(text), raises("INVALID_INDEX"));
    });
    fc.assert(property, { seed: 42, numRuns: 300 });
    const keys = fc.constantFrom("version", "rank", "world", "order", "whole", "cuts");
    const one = fc.property(keys, fc.jsonValue(), (key, value) => {
      try {
        readNote(JSON.stringify({ ...JSON.parse(writeNote(note)), [key]: value }));
      } catch (error) {
        const { code } = error as { code?: string };
        assert.ok(code === "INVALID_INDEX" || code === "UNSUPPORTED", String(error));
      }
    });
    fc.assert(one, { seed: 42, numRuns: 500 });
  });
});
