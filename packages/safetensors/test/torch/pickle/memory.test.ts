import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_PICKLE_MEMORY } from "../../../src/torch/limits.ts";
import { PyDict, type PyList, PySet, PyTuple } from "../../../src/torch/pickle/containers.ts";
import { charactersOfForms, dictKey } from "../../../src/torch/pickle/keys.ts";
import { runPickle } from "../../../src/torch/pickle/machine.ts";
import { PickleReader } from "../../../src/torch/pickle/reader.ts";
import { PyFloat } from "../../../src/torch/pickle/values.ts";
import { finish } from "../../../src/torch/steps.ts";
import { raises } from "../../support.ts";
import { assemble, name, type Part, repeat, text, uint } from "./assembler.ts";

const run = (...parts: Part[]) => finish(runPickle(assemble(...parts)));

/** What the pickle is counted for. */
function counted(...parts: Part[]): number {
  const { countMemory } = PickleReader.prototype;
  let sum = 0;
  PickleReader.prototype.countMemory = function (bytes) {
    sum += bytes;
    countMemory.call(this, bytes);
  };
  try {
    run(...parts, "STOP");
  } finally {
    PickleReader.prototype.countMemory = countMemory;
  }
  return sum;
}

/** Bytes that a value takes in V8 on machines of 64 bits, measured. */
const TAKEN: Record<string, [bytes: number, ...parts: Part[]]> = {
  "an empty set": [40, "EMPTY_SET"],
  "an empty list": [32, "EMPTY_LIST"],
  "an empty dict": [64, "EMPTY_DICT"],
  "a tuple": [88, "NONE", "TUPLE1"],
  "a list of one": [64, "EMPTY_LIST", "NONE", "APPEND"],
  "a list of two": [240, "EMPTY_LIST", "NONE", "APPEND", "NONE", "APPEND"],
  "a dict of one": [264, "EMPTY_DICT", text("a"), "NONE", "SETITEM"],
  "a dict with a tuple as key": [520, "EMPTY_DICT", "NONE", "TUPLE1", "NONE", "SETITEM"],
  "a set of one": [224, "EMPTY_SET", "MARK", "NONE", "ADDITEMS"],
  bytes: [136, "SHORT_BINBYTES", 0],
  "a name": [500, name("a", "B")],
  "a text": [1000, "BINUNICODE", uint(4, 1000), repeat(1000, "'a")],
  "a state": [56, name("a", "B"), "EMPTY_TUPLE", "REDUCE", "NONE", "BUILD"],
  "an entry of the memo": [50, "NONE", "LONG_BINPUT", uint(4, 2 ** 31)],
};

for (const [what, [bytes, ...parts]] of Object.entries(TAKEN)) {
  test(`what is counted is no less than what it takes: ${what}`, () => {
    const many = 100;
    assert.ok(counted(...parts) >= bytes);
    assert.ok(counted(repeat(many, ...parts)) >= bytes || what === "a name");
  });
}

test("a pickle that takes too much memory is refused", () => {
  const limited = (...parts: Part[]) =>
    assert.throws(
      () => run(...parts),
      raises("LIMIT_EXCEEDED", /in the pickle/, { limit: "MAX_PICKLE_MEMORY" }),
    );
  // Nothing is made of what is counted before: a short pickle shows it, of a text that is put into very many tuples as keys.
  const long = ["BINUNICODE", uint(4, 900), repeat(900, "'a"), "BINPUT", 0, "POP"];
  const keys = repeat(200_000, "BINGET", 0, "TUPLE1");
  limited(...long, "EMPTY_SET", "MARK", keys, "ADDITEMS", "STOP");
  assert.ok(MAX_PICKLE_MEMORY <= 2 ** 31);
});

test("a tensor is counted for little over a thousand bytes", () => {
  const pair = ["BININT1", 1, "BININT1", 2, "TUPLE2", "MEMOIZE"];
  const id = ["MARK", text("storage"), text("1234567"), text("cpu"), "BININT1", 4, "TUPLE", "MEMOIZE"];
  const call = ["BINGET", 0, "MARK", ...id, "BINPERSID", ...pair, ...pair, "EMPTY_TUPLE", "TUPLE", "REDUCE"];
  const key = text("model.layers.10.self_attn.q_proj.weight");
  const parts = [name("a", "B"), "MEMOIZE", "EMPTY_DICT", "MARK", repeat(1000, key, ...call), "SETITEMS"];
  assert.ok(counted(...parts) < 1_700_000);
});

test("the form of a frozen set is made once", () => {
  const set = new PySet(true);
  for (let item = 0; item < 200; item++) set.add(item);
  dictKey(set);
  const before = charactersOfForms();
  dictKey(set);
  assert.equal(charactersOfForms(), before);
});

test("a frozen set takes no more items", () => {
  const parts = ["MARK", "NONE", "FROZENSET", "MARK", "NEWTRUE", "ADDITEMS", "STOP"] as const;
  assert.throws(() => run(...parts), raises("INVALID_PICKLE", /not a set/));
});

test("numbers that V8 does not tell apart quickly are looked up as text", () => {
  for (const number of [2 ** 16, -1, 2 ** 40, 2n ** 70n, 0.5].map((n) => dictKey(n))) {
    assert.equal(typeof number, "string");
  }
  assert.equal(dictKey(new PyFloat(65_536)), dictKey(65_536));
  assert.equal(dictKey(new PyFloat(2 ** 60)), dictKey(2n ** 60n));
  assert.equal(dictKey(new PyFloat(3)), 3);
  const dict = new PyDict();
  dict.set(2n ** 70n, 1);
  dict.set(-5, 2);
  assert.deepEqual(
    [...dict.entries()],
    [
      [2n ** 70n, 1],
      [-5, 2],
    ],
  );
  assert.equal(dict.get(new PyFloat(-5)), 2);
  assert.equal(dictKey(new PyTuple([2n ** 70n])), dictKey(new PyTuple([new PyFloat(2 ** 70)])));
});

test("texts that V8 does not tell apart quickly are no keys", () => {
  const long = ["BINUNICODE", uint(4, 16_001), new Uint8Array(16_001).fill(97)];
  const refused = raises("INVALID_PICKLE", /a key has 16001 characters/);
  assert.throws(() => run("EMPTY_DICT", ...long, "NONE", "SETITEM", "STOP"), refused);
  assert.throws(() => run("EMPTY_SET", "MARK", ...long, "ADDITEMS", "STOP"), refused);
});

test("lists share nothing", () => {
  const { value } = run(
    "MARK",
    "EMPTY_LIST",
    "NONE",
    "APPEND",
    "EMPTY_LIST",
    "NEWTRUE",
    "APPEND",
    "LIST",
    "STOP",
  );
  const [first, second] = (value as PyList).items as PyList[];
  assert.deepEqual([first!.items, second!.items], [[null], [true]]);
});
