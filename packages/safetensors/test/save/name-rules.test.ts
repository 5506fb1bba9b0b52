import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { applyNameRules, type NameRules } from "../../src/save/name-rules.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { raises } from "../support.ts";

const source = fromBytes(new Uint8Array(1));
const handle = (name: string): TensorHandle =>
  new TensorHandle(name, { source, dtype: "U8", shape: [1], strides: [1], bitOffset: 0 });

const apply = (names: readonly string[], rules: NameRules): [string, string][] =>
  Array.from(applyNameRules(names.map(handle), rules), ([name, tensor]) => [name, tensor.name]);

const names = ["module.a.weight", "module.b.weight", "module.b.bias", "step"];

describe("names of an output", () => {
  it("stay as they are without rules, in order", () => {
    assert.deepEqual(
      apply(names, {}),
      names.map((name) => [name, name]),
    );
  });

  it("are chosen by what they were", () => {
    assert.deepEqual(apply(names, { include: /weight$/, exclude: (name) => name.includes(".b.") }), [
      ["module.a.weight", "module.a.weight"],
    ]);
    assert.deepEqual(
      apply(names, { exclude: ["step"], stripPrefix: "module." }).map(([name]) => name),
      ["a.weight", "b.weight", "b.bias"],
    );
  });

  it("lose a prefix where they have it", () => {
    assert.deepEqual(
      apply(names, { stripPrefix: "module." }).map(([name]) => name),
      ["a.weight", "b.weight", "b.bias", "step"],
    );
  });

  it("are never the same, empty or none", () => {
    assert.throws(
      () => apply(["module.a", "a"], { stripPrefix: "module." }),
      raises("AMBIGUOUS", /"module\.a" and "a" would both be named "a"/),
    );
    assert.throws(
      () => apply(["module."], { stripPrefix: "module." }),
      raises("INVALID_NAME", /nothing is left/),
    );
    assert.throws(
      () => apply(names, { include: /nothing/ }),
      raises("TENSOR_NOT_FOUND", /no tensor is left/),
    );
    assert.throws(() => apply(names, { stripPrefix: "x." }), raises("TENSOR_NOT_FOUND", /begins with "x\."/));
  });
});
