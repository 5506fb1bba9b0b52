import assert from "node:assert/strict";
import { test } from "node:test";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { groupAliases } from "../../src/save/aliases.ts";
import { fromBytes } from "../../src/source/memory.ts";
import type { StridedView } from "../../src/view/view.ts";
import { raises } from "../support.ts";

const source = fromBytes(new Uint8Array(64));
const other = fromBytes(new Uint8Array(64));
const view = (parts: Partial<StridedView> = {}): StridedView => ({
  source,
  dtype: "F32",
  shape: [2, 3],
  strides: [3, 1],
  bitOffset: 0,
  ...parts,
});

function checkpoint(views: Record<string, StridedView>): Checkpoint {
  const tensors = new Map(Object.entries(views));
  return new Checkpoint({
    format: "test",
    tensors: { size: tensors.size, names: () => tensors.keys(), find: (name) => tensors.get(name) },
  });
}

test("of the same view, the first name by code points is kept", () => {
  const { kept, aliases } = groupAliases(
    checkpoint({ b: view(), "\u{1f600}": view(), "\ue000": view(), a: view(), c: view({ bitOffset: 32 }) }),
  );
  assert.deepEqual(kept, ["a", "c"]);
  assert.deepEqual(
    [...aliases],
    [
      ["b", "a"],
      ["\u{1f600}", "a"],
      ["\ue000", "a"],
    ],
  );
  const two = groupAliases(checkpoint({ "\u{1f600}": view(), "\ue000": view() }));
  assert.deepEqual(two.kept, ["\ue000"]);
});

test("views that differ in anything are all kept", () => {
  const views = {
    a: view(),
    dtype: view({ dtype: "I32" }),
    place: view({ bitOffset: 8 }),
    shape: view({ shape: [2, 2] }),
    rank: view({ shape: [2, 3, 1], strides: [3, 1, 1] }),
    strides: view({ strides: [1, 2] }),
    source: view({ source: other }),
    "ab x": view({ shape: [23], strides: [1] }),
  };
  const { kept, aliases } = groupAliases(checkpoint(views));
  assert.deepEqual(kept, Object.keys(views));
  assert.equal(aliases.size, 0);
});

test("empty tensors are never aliases", () => {
  const empty = view({ shape: [0, 3] });
  assert.deepEqual(groupAliases(checkpoint({ a: empty, b: empty })).kept, ["a", "b"]);
});

test("names can be kept or discarded by choice", () => {
  const tied = checkpoint({ a: view(), b: view(), c: view(), alone: view({ dtype: "I32" }) });
  assert.deepEqual(groupAliases(tied, { keep: ["c"] }).kept, ["c", "alone"]);
  assert.deepEqual(groupAliases(tied, { keep: ["c", "b", "alone"] }).kept, ["b", "alone"]);
  assert.deepEqual(groupAliases(tied, { discard: ["a", "alone"] }).kept, ["b", "alone"]);
  assert.deepEqual(groupAliases(tied, { discard: ["a", "b", "c"] }).kept, ["a", "alone"]);
  assert.deepEqual(
    [...groupAliases(tied, { keep: ["b"], discard: ["a"] }).aliases],
    [
      ["a", "b"],
      ["c", "b"],
    ],
  );
  assert.throws(
    () => groupAliases(tied, { keep: ["a"], discard: ["a"] }),
    raises("AMBIGUOUS", /"a" is to be kept/),
  );
  for (const options of [{ keep: ["a", "x"] }, { discard: ["x"] }]) {
    assert.throws(() => groupAliases(tied, options), raises("TENSOR_NOT_FOUND", /no tensor named "x"/));
  }
});
