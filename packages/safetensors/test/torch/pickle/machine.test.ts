import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SafetensorsError } from "../../../src/errors.ts";
import { type ObjectNode, PyDict, PyList, PyTuple } from "../../../src/torch/pickle/containers.ts";
import { type PickleResult, runPickle } from "../../../src/torch/pickle/machine.ts";
import { OPCODE_NAMES } from "../../../src/torch/pickle/opcodes.ts";
import { type GlobalRef, PersistentId } from "../../../src/torch/pickle/values.ts";
import { finish } from "../../../src/torch/steps.ts";
import { raises } from "../../support.ts";
import { assemble, name, type Part, repeat, text, uint } from "./assembler.ts";
import { describe } from "./describe.ts";

const run = (...parts: readonly Part[]): PickleResult => finish(runPickle(assemble(...parts)));
const value = (...parts: readonly Part[]): unknown => describe(run(...parts).value);

/** Runs what takes milliseconds unless something grows without bounds; the limit leaves room for slow machines. */
function quick(action: () => void): void {
  const start = performance.now();
  action();
  assert.ok(performance.now() - start < 20_000, `took ${performance.now() - start} ms`);
}

test("the result says where the pickle ends, its protocol, its length in opcodes, and the names in it", () => {
  const bytes = assemble(
    "PROTO",
    2,
    name("a", "b"),
    name("c", "d"),
    "EMPTY_TUPLE",
    "REDUCE",
    name("a", "b"),
    "TUPLE3",
    "STOP",
    "'next",
  );
  const { end, opcodes, protocol, globals } = finish(runPickle(bytes));
  assert.deepEqual({ end, opcodes, protocol }, { end: bytes.length - 4, opcodes: 8, protocol: 2 });
  const seen = globals.map(({ path, at, called }) => ({ path, at, called }));
  assert.deepEqual(seen, [
    { path: "a.b", at: 2, called: false },
    { path: "c.d", at: 7, called: true },
  ]);
});

test("a pickle may begin anywhere", () => {
  const one = assemble("PROTO", 2, "BININT1", 1, "STOP");
  const two = assemble("PROTO", 2, "BININT1", 2, "STOP");
  const both = assemble(one, two);
  assert.equal(finish(runPickle(both)).value, 1);
  assert.equal(finish(runPickle(both, {}, one.length)).value, 2);
});

test("values are shared by reference, also after the memo was read", () => {
  const list = ["l", ["i", "7"]];
  const parts = ["EMPTY_LIST", "BINPUT", 0, "BINGET", 0, "BININT1", 7, "APPEND", "TUPLE2", "STOP"];
  assert.deepEqual(value(...parts), ["t", list, ["r", 0]]);
});

test("hooks interpret what they know; the rest stays nodes", () => {
  const heard: string[] = [];
  const pickle = assemble(name("known", "add"), "BININT1", 1, "BININT1", 2, "TUPLE2", "REDUCE", name("other", "f"), "EMPTY_TUPLE", "REDUCE",
    text("id"), "BINPERSID", "TUPLE3", "STOP"); // biome-ignore format: one pickle
  const steps = runPickle(pickle, {
    onGlobal: ({ path }) => heard.push(path),
    call: ({ path }, args) =>
      path === "known.add" ? (args.items[0] as number) + (args.items[1] as number) : undefined,
    persistentLoad: (id) => `loaded ${id}`,
  });
  const { value } = finish(steps);
  assert.deepEqual(heard, ["known.add", "other.f"]);
  assert.deepEqual(describe(value), [
    "t",
    ["i", "3"],
    ["o", ["g", "other", "f"], ["t"], null, ["l"], ["l"], ["d"]],
    "loaded id",
  ]);
});

test("only what Python cannot call, or take for text, ends every reading", () => {
  const made = [name("a", "b"), "EMPTY_TUPLE", "REDUCE"];
  const kindAfter = (...parts: readonly Part[]): unknown => {
    try {
      finish(runPickle(assemble(...parts), { call: () => new PersistentId(null) }));
    } catch (error) {
      return (error as SafetensorsError).details.kind;
    }
    throw new Error("it was carried out");
  };
  const float = ["BINFLOAT", new Uint8Array(8)];
  for (const plain of [["NONE"], ["NEWTRUE"], ["BININT1", 1], float, ["EMPTY_DICT"], ["EMPTY_SET"]]) {
    assert.equal(kindAfter(...plain, "EMPTY_TUPLE", "REDUCE"), "fatal");
    assert.equal(kindAfter(text("a"), ...plain, "STACK_GLOBAL"), "fatal");
  }
  assert.equal(kindAfter(text("a"), "EMPTY_TUPLE", "REDUCE"), "fatal");
  assert.equal(kindAfter(...made, "EMPTY_TUPLE", "REDUCE"), undefined);
  assert.equal(kindAfter(...made, text("b"), "STACK_GLOBAL"), undefined);
  assert.equal(kindAfter(text("a"), name("a", "b"), "STACK_GLOBAL"), "fatal");
});

test("INST asks for its name before it looks for a mark", () => {
  const asked: string[] = [];
  const onGlobal = ({ path }: GlobalRef): void => void asked.push(path);
  assert.throws(
    () => finish(runPickle(assemble("INST", "'a\nb\n"), { onGlobal })),
    raises("INVALID_PICKLE", /mark/),
  );
  assert.deepEqual(asked, ["a.b"]);
});

test("a hook may refuse a name, before anything is made of it", () => {
  const onGlobal = (ref: GlobalRef) => {
    throw new SafetensorsError("FORBIDDEN_GLOBAL", ref.path);
  };
  const bytes = assemble(name("os", "system"), text("echo"), "TUPLE1", "REDUCE", "STOP");
  assert.throws(() => finish(runPickle(bytes, { onGlobal })), raises("FORBIDDEN_GLOBAL", /os\.system/));
});

test("BUILD on a dict is for hooks to allow", () => {
  const bytes = assemble("EMPTY_DICT", "NONE", "BUILD", "STOP");
  assert.throws(() => finish(runPickle(bytes)), raises("INVALID_PICKLE", /BUILD at byte 2/));
  assert.ok(
    finish(runPickle(bytes, { build: (target) => target instanceof PyDict })).value instanceof PyDict,
  );
});

test("entries of a dict keep the order in which their keys came, whatever these are", () => {
  const put = (key: Part[], value: number): Part[] => [...key, "BININT1", value, "SETITEM"];
  const parts = [put([text("a")], 1), put(["BININT1", 7], 2), put([text("b")], 3), put([text("a")], 4)];
  const dict = run("EMPTY_DICT", ...parts.flat(), "STOP").value as PyDict;
  assert.deepEqual(
    [...dict.entries()],
    [
      ["a", 4],
      [7, 2],
      ["b", 3],
    ],
  );
  assert.equal(dict.size, 3);
  dict.set("c", 5);
  assert.equal(dict.get("c"), 5);
});

test("keys are equal as in Python", () => {
  const same = (a: Part[], b: Part[]) => {
    const dict = run("EMPTY_DICT", ...a, "NONE", "SETITEM", ...b, "NONE", "SETITEM", "STOP").value as PyDict;
    return dict.size === 1;
  };
  const one: Part[] = ["BININT1", 1];
  const float = (hex: string): Part[] => ["BINFLOAT", Buffer.from(hex, "hex")];
  const tuple = (...items: Part[]): Part[] => [...items, "TUPLE1"];
  assert.ok(same(one, ["NEWTRUE"]));
  assert.ok(same(one, float("3ff0000000000000")));
  assert.ok(same(float("0000000000000000"), float("8000000000000000")));
  assert.ok(same(tuple(...one), tuple("NEWTRUE")));
  assert.ok(same(float("43e0000000000000"), ["LONG1", 9, Buffer.from("000000000000008000", "hex")]));
  assert.ok(!same(float("7ff8000000000000"), float("7ff8000000000000")), "NaN");
  assert.ok(!same([text("a")], ["SHORT_BINBYTES", 1, "'a"]));
  assert.ok(!same([text("1")], one));
  assert.ok(!same(["NONE"], [text("null")]));
  assert.ok(!same(tuple(text("a")), [text("\0ts1:a")]));
  assert.ok(!same([text("\0sx")], [text("\0\0sx")]));
  assert.ok(same([name("a", "B")], [name("a", "B")]), "a class is one object");
  const empty = run("EMPTY_DICT", text("__proto__"), "EMPTY_DICT", "SETITEM", "STOP").value as PyDict;
  assert.equal(empty.size, 1);
  assert.ok(empty.get("__proto__") instanceof PyDict);
  assert.equal(empty.get("toString"), undefined);
});

/** What must be refused with `INVALID_PICKLE`: what it is, the message, the pickle. */
const INVALID: [what: string, message: RegExp, ...parts: Part[]][] = [
  ["nothing", /ends at byte 0 without STOP/],
  ["no STOP", /ends at byte 1 without STOP/, "NONE"],
  ["STOP on an empty stack", /STOP at byte 0: 1 values are needed, 0/, "STOP"],
  ["STOP above a mark", /STOP at byte 2/, "NONE", "MARK", "STOP"],
  ["an unknown opcode", /opcode 0xff at byte 1: there is no such opcode/, "NONE", 0xff],
  ["POP on nothing", /POP at byte 0/, "POP"],
  ["DUP above a mark", /DUP at byte 2/, "NONE", "MARK", "DUP"],
  ["a tuple over a mark", /TUPLE2 at byte 3/, "NONE", "MARK", "NONE", "TUPLE2"],
  ["no mark", /TUPLE at byte 0: there is no mark/, "TUPLE"],
  ["a memo entry that is not there", /BINGET at byte 0: nothing was memorized as 5/, "BINGET", 5],
  ["memorizing nothing", /BINPUT at byte 0/, "BINPUT", 0],
  ["a negative index", /PUT at byte 1/, "NONE", "PUT", "'-1\n"],
  ["APPEND on a tuple", /APPEND at byte 2: the target is not a list/, "EMPTY_TUPLE", "NONE", "APPEND"],
  ["APPENDS of nothing on a dict", /APPENDS at byte 2/, "EMPTY_DICT", "MARK", "APPENDS"],
  [
    "SETITEM on a list",
    /SETITEM at byte 3: the target is not a dict/,
    "EMPTY_LIST",
    "NONE",
    "NONE",
    "SETITEM",
  ],
  [
    "SETITEMS without a value",
    /SETITEMS at byte 3: a key has no value/,
    "EMPTY_DICT",
    "MARK",
    "NONE",
    "SETITEMS",
  ],
  ["DICT without a value", /DICT at byte 2: a key has no value/, "MARK", "NONE", "DICT"],
  ["ADDITEMS on a list", /ADDITEMS at byte 2: the target is not a set/, "EMPTY_LIST", "MARK", "ADDITEMS"],
  [
    "a list as a key",
    /SETITEM at byte 3: a list cannot be a key/,
    "EMPTY_DICT",
    "EMPTY_LIST",
    "NONE",
    "SETITEM",
  ],
  [
    "a tuple with a dict as a key",
    /a dict cannot be a key/,
    "EMPTY_DICT",
    "EMPTY_DICT",
    "TUPLE1",
    "NONE",
    "SETITEM",
  ],
  ["a set in a set", /a set cannot be a key/, "EMPTY_SET", "MARK", "EMPTY_SET", "ADDITEMS"],
  ["a bytearray as a key", /a bytearray cannot/, "EMPTY_DICT", "BYTEARRAY8", uint(8, 0), "NONE", "SETITEM"],
  ["a name that is a number", /a name is not text/, text("a"), "NONE", "STACK_GLOBAL"],
  ["a name that is not UTF-8", /GLOBAL at byte 0: its argument is malformed/, "GLOBAL", "'a\n", 0xff, "'\n"],
  ["an instance whose class is not ASCII", /INST at byte 1/, "MARK", "INST", "'é\nB\n"],
  ["an empty module", /GLOBAL at byte 0/, "GLOBAL", "'\na\n"],
  ["a name without an end", /GLOBAL at byte 0: the line does not end/, "GLOBAL", "'a\nb"],
  ["REDUCE without a tuple", /the arguments are not a tuple/, name("a", "b"), "NONE", "REDUCE"],
  ["a call of an int", /what is called is not/, "BININT1", 1, "EMPTY_TUPLE", "REDUCE"],
  ["an object of an int", /what is called is not/, "BININT1", 1, "BININT1", 2, "TUPLE1", "NEWOBJ"],
  ["OBJ of nothing", /there is no class/, "MARK", "OBJ"],
  [
    "keywords that are no text",
    /a keyword is not text/,
    name("a", "b"),
    "EMPTY_TUPLE",
    "EMPTY_DICT",
    "NONE",
    "NONE",
    "SETITEM",
    "NEWOBJ_EX",
  ],
  ["keyword arguments that are none", /not a dict/, name("a", "b"), "EMPTY_TUPLE", "NONE", "NEWOBJ_EX"],
  ["BUILD on a name", /the target takes no state/, name("a", "b"), "NONE", "BUILD"],
  ["BUILD on an int", /the target takes no state/, "BININT1", 1, "NONE", "BUILD"],
  ["a protocol from the future", /protocol 6 is not known/, "PROTO", 6],
  ["a protocol in the middle", /PROTO at byte 1: it is not the first/, "NONE", "PROTO", 2],
  ["a buffer from outside", /NEXT_BUFFER at byte 0/, "NEXT_BUFFER"],
  ["a read-only buffer from outside", /READONLY_BUFFER at byte 1/, "NONE", "READONLY_BUFFER"],
  ["text that is not UTF-8", /its argument is malformed/, "SHORT_BINUNICODE", 2, 0xc0, 0x80],
  [
    "halves that would meet",
    /its argument is malformed/,
    "SHORT_BINUNICODE",
    6,
    Buffer.from("eda0bdedb880", "hex"),
  ],
  ["escaped halves that would meet", /its argument is malformed/, "UNICODE", "'\\ud83d\\ude00\n"],
  ["a backslash alone", /its argument is malformed/, "UNICODE", "'a\\b\n"],
  ["a character above U+10FFFF", /its argument is malformed/, "UNICODE", "'\\U00110000\n"],
  ["a string without quotes", /STRING at byte 0/, "STRING", "'abc\n"],
  ["a string with two kinds of quotes", /STRING at byte 0/, "STRING", "''abc\"\n"],
  ["a string that is one quote", /STRING at byte 0/, "STRING", "''\n"],
  ["a string with an unknown escape", /STRING at byte 0/, "STRING", "''\\q'\n"],
  ["a string with an octal escape above 255", /STRING at byte 0/, "STRING", "''\\400'\n"],
  ["a string that ends in a backslash", /STRING at byte 0/, "STRING", "''\\'\n"],
  ["an octal int", /INT at byte 0/, "INT", "'010\n"],
  ["an int with an underscore", /INT at byte 0/, "INT", "'1_0\n"],
  ["an int with a space", /INT at byte 0/, "INT", "' 1\n"],
  ["an int with a carriage return", /INT at byte 0/, "INT", "'1\r\n"],
  ["no int", /INT at byte 0/, "INT", "'\n"],
  ["a float in hexadecimal", /FLOAT at byte 0/, "FLOAT", "'0x1p3\n"],
  ["a float beyond the largest", /FLOAT at byte 0/, "FLOAT", "'1e309\n"],
  ["no float", /FLOAT at byte 0/, "FLOAT", "'\n"],
  ["a persistent id that is not ASCII", /PERSID at byte 0/, "PERSID", "'é\n"],
  ["a negative length of bytes", /a length of -1/, "BINSTRING", uint(4, 0xffffffff)],
  ["a negative length of an int", /a length of -1/, "LONG4", uint(4, 0xffffffff)],
  [
    "more bytes than there are",
    /BINBYTES at byte 0: 4294967295 bytes are announced, 3 remain/,
    "BINBYTES",
    uint(4, 0xffffffff),
    "'abc",
  ],
  ["bytes beyond 2^53", /bytes are announced, 0 remain/, "BINBYTES8", Buffer.from("0000000000000080", "hex")],
  ["a frame beyond the end", /FRAME at byte 0: 5 bytes are announced, 1 remain/, "FRAME", uint(8, 5), "STOP"],
  [
    "a frame in a frame",
    /frames do not nest/,
    "FRAME",
    uint(8, 20),
    "FRAME",
    uint(8, 1),
    "NONE",
    "STOP",
    repeat(20, "STOP"),
  ],
  [
    "an argument over the end of its frame",
    /4 bytes are announced, 2 remain/,
    "FRAME",
    uint(8, 3),
    "BININT",
    uint(4, 1),
    "STOP",
  ],
  ["a line over the end of its frame", /the line does not end/, "FRAME", uint(8, 2), "INT", "'12\n", "STOP"],
  [
    "a frame that goes on after STOP",
    /STOP at byte 10: the frame goes on/,
    "FRAME",
    uint(8, 3),
    "NONE",
    "STOP",
    "STOP",
  ],
];

for (const [what, message, ...parts] of INVALID) {
  test(`refused: ${what}`, () => {
    assert.throws(() => run(...parts), raises("INVALID_PICKLE", message));
  });
}

test("extension codes are refused: they stand for any name", () => {
  for (const parts of [
    ["EXT1", 1],
    ["EXT2", 1, 0],
    ["EXT4", 1, 0, 0, 0],
  ] as Part[][]) {
    assert.throws(
      () => run(...parts),
      raises("FORBIDDEN_GLOBAL", /extension code 1/, { at: 0, global: "copyreg extension 1" }),
    );
  }
});

test("errors say where", () => {
  assert.throws(() => run("NONE", "NONE", "APPEND"), raises("INVALID_PICKLE", /APPEND at byte 2/, { at: 2 }));
});

test("a frame that is left goes on behind it", () => {
  assert.deepEqual(
    value("FRAME", uint(8, 2), "BININT1", 1, "BININT1", 2, "FRAME", uint(8, 2), "TUPLE2", "STOP"),
    ["t", ["i", "1"], ["i", "2"]],
  );
});

test("limits have names", () => {
  const limited = (limit: string, ...parts: Part[]) =>
    assert.throws(() => run(...parts), raises("LIMIT_EXCEEDED", /in the pickle/, { limit }));
  limited("MAX_PICKLE_MARKS", repeat(10_001, "MARK"));
  limited("MAX_PICKLE_LONG_BYTES", "LONG4", uint(4, 8193), new Uint8Array(8193));
  limited("MAX_PICKLE_LONG_BYTES", "LONG4", uint(4, 0x7fffffff));
  limited("MAX_PICKLE_DIGITS", "INT", repeat(4301, "'1"), "'\n");
  limited("MAX_GLOBAL_LENGTH", name("a".repeat(500), "b".repeat(501)));
  limited("MAX_PICKLE_TEXT_BYTES", "BINUNICODE", uint(4, 2 ** 26 + 1));
  assert.equal((value("LONG4", uint(4, 8192), new Uint8Array(8192).fill(1), "STOP") as string[])[0], "i");
});

test("bombs are quick: nothing is copied, hashed or walked", () => {
  // x = (x, x) a hundred thousand times: 2^100000 elements.
  const pairs = ["EMPTY_TUPLE", repeat(100_000, "DUP", "TUPLE2"), "STOP"];
  quick(() => assert.ok(run(...pairs).value instanceof PyTuple));
  // Nested without end, and marks up to their limit.
  quick(() => assert.ok(run("NONE", repeat(1_000_000, "TUPLE1"), "STOP").value instanceof PyTuple));
  quick(() =>
    assert.ok(run(repeat(10_000, "MARK"), "NONE", repeat(10_000, "LIST"), "STOP").value instanceof PyList),
  );
  // The same list put into itself.
  const itself = ["EMPTY_LIST", repeat(100_000, "DUP"), repeat(100_000, "APPEND"), "STOP"];
  quick(() => assert.equal((run(...itself).value as PyList).items.length, 100_000));
  // An index that would need gigabytes as an array.
  quick(() =>
    assert.equal(
      run(
        "NONE",
        "POP",
        "BININT1",
        3,
        "LONG_BINPUT",
        uint(4, 0x0fffffff),
        "LONG_BINGET",
        uint(4, 0x0fffffff),
        "STOP",
      ).value,
      3,
    ),
  );
});

test("keys that are bombs are refused, quickly", () => {
  const dict = (key: Part[]) => () => run("EMPTY_DICT", ...key, "NONE", "SETITEM", "STOP");
  quick(() =>
    assert.throws(dict(["EMPTY_TUPLE", repeat(31, "DUP", "TUPLE2")]), raises("INVALID_PICKLE", /characters/)),
  );
  quick(() => assert.throws(dict(["NONE", repeat(40, "TUPLE1")]), raises("INVALID_PICKLE", /nested deeper/)));
  quick(() =>
    assert.throws(
      dict(["BINBYTES", uint(4, 2000), new Uint8Array(2000)]),
      raises("INVALID_PICKLE", /characters/),
    ),
  );
  quick(() =>
    assert.throws(
      dict(["BINUNICODE", uint(4, 100_000), new Uint8Array(100_000).fill(97), "TUPLE1"]),
      raises("INVALID_PICKLE", /characters/),
    ),
  );
});

test("long lists, dicts and tuples", () => {
  const list = run(
    "EMPTY_LIST",
    "MARK",
    repeat(300_000, "NONE"),
    "APPENDS",
    "MARK",
    repeat(300_000, "NONE"),
    "APPENDS",
    "STOP",
  ).value as PyList;
  assert.equal(list.items.length, 600_000);
  assert.equal(
    (run("MARK", repeat(300_000, "NONE"), "TUPLE", "STOP").value as PyTuple).items.length,
    300_000,
  );
  const dict = run("EMPTY_DICT", "MARK", repeat(300_000, "NONE", "NONE"), "SETITEMS", "STOP").value as PyDict;
  assert.equal(dict.size, 1);
  const object = run(
    name("a", "B"),
    "EMPTY_TUPLE",
    "NEWOBJ",
    "MARK",
    repeat(300_000, "NONE"),
    "APPENDS",
    "STOP",
  ).value as ObjectNode;
  assert.equal(object.list.items.length, 300_000);
  const made = run("MARK", name("a", "B"), repeat(300_000, "NONE"), "OBJ", "STOP").value as ObjectNode;
  assert.equal(made.args.items.length, 300_000);
});

test("any opcodes at all: a value or one of our errors", () => {
  const opcode = fc.constantFrom(...OPCODE_NAMES.keys());
  const argument = fc.uint8Array({ maxLength: 5 });
  const line = fc.constantFrom("0\n", "1\n", "'a'\n", "a\n", "m\nn\n", "-1\n", "1.5\n");
  const part = fc.oneof(
    { weight: 6, arbitrary: opcode.map((code) => Uint8Array.of(code)) },
    { weight: 1, arbitrary: argument },
    { weight: 1, arbitrary: line.map((text) => new TextEncoder().encode(text)) },
    // Some that put values on the stack, so that the others have something to work on.
    {
      weight: 6,
      arbitrary: fc
        .constantFrom("N", "K\x01", "]", "}", ")", "(", "\x8c\x01a", "cm\nn\n", "q\x00", "h\x00", "2")
        .map((text) => Buffer.from(text, "latin1")),
    },
  );
  let read = 0;
  fc.assert(
    fc.property(fc.array(part, { maxLength: 60 }), (parts) => {
      try {
        describe(run(...parts, "STOP").value);
        read++;
      } catch (error) {
        if (!(error instanceof SafetensorsError)) throw error;
      }
    }),
    { seed: 42, numRuns: 10_000 },
  );
  assert.ok(read > 100, `only ${read} were read`);
});
