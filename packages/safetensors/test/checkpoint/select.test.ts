import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { open } from "../../src/checkpoint/open.ts";
import { type NameChoice, nameTest, selectTensors } from "../../src/checkpoint/select.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { raises } from "../support.ts";
import { dataOf, shard } from "./counted-store.ts";

const ALL = ["c", "a.weight", "b.weight", "a.bias"];
const whole = await open(shard(...ALL));

/** One-shot, as `Map.prototype.keys` gives. */
const once = (...names: readonly string[]): Iterable<string> =>
  new Map(names.map((name) => [name, 1])).keys();

const choices: readonly (readonly [what: string, choice: () => NameChoice, chosen: readonly string[]])[] = [
  ["a list, in the order of the data", () => ["a.bias", "c"], ["c", "a.bias"]],
  ["a list with a name twice", () => ["c", "c"], ["c"]],
  ["an empty list", () => [], []],
  ["a set", () => new Set(["b.weight"]), ["b.weight"]],
  ["an iterator that can be used only once", () => once("a.bias", "c"), ["c", "a.bias"]],
  ["one name, which is not a list of letters", () => "a.bias", ["a.bias"]],
  ["a pattern", () => /^a\./, ["a.weight", "a.bias"]],
  ["a pattern with a state", () => /weight/g, ["a.weight", "b.weight"]],
  ["a sticky pattern", () => /a/y, ["a.weight", "a.bias"]],
  ["a pattern that none matches", () => /z/, []],
  ["a test", () => (name) => name.endsWith("weight"), ["a.weight", "b.weight"]],
];

describe("selectTensors", () => {
  for (const [what, choice, chosen] of choices) {
    it(`takes ${what}`, async () => {
      const part = selectTensors(whole, choice());
      assert.deepEqual([...part.keys()], chosen);
      assert.equal(part.size, chosen.length);
      for (const { name } of part) assert.deepEqual(await part.get(name).bytes(), dataOf(name));
      for (const name of ALL) assert.equal(part.has(name), chosen.includes(name), name);
      for (const name of ALL.filter((name) => !chosen.includes(name))) {
        assert.throws(() => part.get(name), raises("TENSOR_NOT_FOUND", /./, { tensor: name }));
      }
    });
  }

  it("refuses a listed name that is not there", () => {
    for (const choice of [["c", "d"], "d", new Set(["d"]), once("c", "d")]) {
      assert.throws(() => selectTensors(whole, choice), raises("TENSOR_NOT_FOUND", /"d"/, { tensor: "d" }));
    }
    for (const name of ["__proto__", "constructor", "size", ""]) {
      assert.throws(() => selectTensors(whole, [name]), raises("TENSOR_NOT_FOUND"));
      assert.ok(!selectTensors(whole, ALL).has(name));
    }
  });

  it("keeps format, metadata and problems, and may be selected from again", async () => {
    const part = selectTensors(selectTensors(whole, /\./), /^a/);
    assert.deepEqual([...part.keys()], ["a.weight", "a.bias"]);
    assert.equal(part.format, whole.format);
    assert.equal(part.metadata, whole.metadata);
    assert.equal(part.problems, whole.problems);
    assert.throws(() => selectTensors(part, ["c"]), raises("TENSOR_NOT_FOUND"));
    const read: string[] = [];
    for await (const { name, bytes } of part.read()) {
      assert.deepEqual(new Uint8Array(bytes), dataOf(name));
      read.push(name);
    }
    assert.deepEqual(read, ["a.weight", "a.bias"]);
  });

  it("closes the whole", async () => {
    let closed = 0;
    const source = { ...fromBytes(shard("a", "b")), close: () => void closed++ };
    await selectTensors(await open(source), ["a"]).close();
    assert.equal(closed, 1);
  });
});

describe("nameTest", () => {
  it("is the choice as a test, and can be asked again and again", () => {
    for (const [what, choice, chosen] of choices) {
      const test = nameTest(choice());
      for (let i = 0; i < 2; i++) assert.deepEqual(ALL.filter(test), chosen, what);
    }
    assert.ok(nameTest(undefined)("x"));
  });
});

describe("Checkpoint.read with names", () => {
  it("takes the same choices", async () => {
    for (const [what, choice, chosen] of choices) {
      const read: string[] = [];
      for await (const { name } of whole.read({ names: choice() })) read.push(name);
      assert.deepEqual(read, chosen, what);
    }
    await assert.rejects(whole.read({ names: once("d") }).next(), raises("TENSOR_NOT_FOUND"));
  });
});
