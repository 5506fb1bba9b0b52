import assert from "node:assert/strict";
import { test } from "node:test";
import { newNames } from "../../src/save/new-names.ts";
import { raises } from "../support.ts";

const NAMES = ["model.a", "model.b", "head"];

test("names change by a list, then by patterns, in turn", () => {
  const found = newNames(NAMES, {
    names: new Map([["head", "model.head"]]),
    patterns: [
      { pattern: /^model\./, by: "" },
      { pattern: /^(.)$/, by: "$1.weight" },
    ],
  });
  assert.deepEqual(Object.fromEntries(found), { "model.a": "a.weight", "model.b": "b.weight" });
});

test("names may be exchanged", () => {
  const exchanged = new Map([
    ["model.a", "model.b"],
    ["model.b", "model.a"],
  ]);
  assert.deepEqual(newNames(NAMES, { names: exchanged }), exchanged);
});

test("what cannot be is refused", () => {
  const fails = (rules: Parameters<typeof newNames>[1], ...expected: Parameters<typeof raises>): void =>
    assert.throws(() => newNames(NAMES, rules), raises(...expected));
  fails(
    { patterns: [{ pattern: /[ab]$/, by: "c" }] },
    "AMBIGUOUS",
    /"model\.a" and "model\.b" .* "model\.c"/,
  );
  fails({ names: new Map([["head", "model.a"]]) }, "AMBIGUOUS");
  fails({ names: new Map([["x", "y"]]) }, "TENSOR_NOT_FOUND", /"x"/);
  fails({ patterns: [{ pattern: /x/, by: "y" }] }, "TENSOR_NOT_FOUND", /no name/);
  fails({ patterns: [{ pattern: /^head$/, by: "" }] }, "INVALID_NAME", /nothing is left/);
});

test("a pattern with state gives the same for every name", () => {
  const found = newNames(["aa", "ab"], { patterns: [{ pattern: /a/g, by: "x" }] });
  assert.deepEqual(Object.fromEntries(found), { aa: "xx", ab: "xb" });
});
