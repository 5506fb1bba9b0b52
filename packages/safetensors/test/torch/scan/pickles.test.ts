import assert from "node:assert/strict";
import { test } from "node:test";
import { fixture } from "../../fixtures.ts";
import { concat } from "../../support.ts";
import { assemble, name, type Part, repeat, text, uint } from "../pickle/assembler.ts";
import { call, global, push, tensor, torchFile, tuple } from "../torch-file.ts";
import { checkRow, heapsAt, type Row, scanned } from "./scanned.ts";

const pickle = (...parts: readonly Part[]): Uint8Array => assemble("PROTO", 4, ...parts, "STOP");
const SYSTEM = call("os.system", "id");
const bytesOf = (bytes: Uint8Array): Uint8Array => assemble("BINBYTES", uint(4, bytes.length), bytes);
const torchPickle = (value: Uint8Array): Uint8Array => assemble("PROTO", 2, value, "STOP");
const latin1 = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

const LOADED = "torch.storage._load_from_bytes";

const NAMES: readonly Row[] = [
  ["a call", pickle(SYSTEM), "dangerous", "forbidden-global"],
  ["a name that is not called", pickle(global("os.system")), "dangerous", "forbidden-global"],
  ["a name that is dropped", pickle(global("os.system"), "POP", "NONE"), "dangerous", "forbidden-global"],
  [
    "a name on the stack",
    pickle(text("os"), text("system"), "STACK_GLOBAL"),
    "dangerous",
    "forbidden-global",
  ],
  ["INST", assemble("MARK", "INST", "'os\nsystem\n", "STOP"), "dangerous", "forbidden-global"],
  ["OBJ", pickle("MARK", global("os.system"), push("id"), "OBJ"), "dangerous", "forbidden-global"],
  ["NEWOBJ", pickle(global("os.system"), "EMPTY_TUPLE", "NEWOBJ"), "dangerous", "forbidden-global"],
  [
    "NEWOBJ_EX",
    pickle(global("os.system"), "EMPTY_TUPLE", "EMPTY_DICT", "NEWOBJ_EX"),
    "dangerous",
    "forbidden-global",
  ],
  ["protocol 0", new TextEncoder().encode("cposix\nsystem\n(S'id'\ntR."), "dangerous", "forbidden-global"],
  ["Python 2's spelling", pickle(global("__builtin__.eval")), "dangerous", "forbidden-global"],
  ["a dotted name", pickle(name("torch.serialization", "os.system")), "dangerous", "forbidden-global"],
  [
    "attributes of an object",
    pickle(name("collections", "OrderedDict.__reduce__")),
    "dangerous",
    "forbidden-global",
  ],
  ["a scanner", pickle(global("picklescan.scanner")), "dangerous", "forbidden-global"],
  [
    "names from the memo",
    pickle(
      text("os"),
      "MEMOIZE",
      "POP",
      text("system"),
      "MEMOIZE",
      "POP",
      "BINGET",
      0,
      "BINGET",
      1,
      "STACK_GLOBAL",
    ),
    "dangerous",
    "forbidden-global",
  ],
  ["an unknown class", pickle(global("company.Thing")), "incomplete", "unknown-global"],
  ["a function of a known package", pickle(global("transformers.pipeline")), "incomplete", "unknown-global"],
  [
    "a method of a known class",
    pickle(name("transformers.training_args", "TrainingArguments.to_json")),
    "incomplete",
    "unknown-global",
  ],
  ["a known class", pickle(global("transformers.training_args.TrainingArguments")), "clean"],
  ["text that only looks like a name", pickle(push(["os", "system", "cos\nsystem\n"])), "clean"],
  ["EXT1", pickle("EXT1", 1), "dangerous", "extension-code"],
  ["EXT2", pickle("EXT2", uint(2, 1)), "dangerous", "extension-code"],
  ["EXT4", pickle("EXT4", uint(4, 1)), "dangerous", "extension-code"],
  [
    "a name that is no text",
    pickle("BININT1", 1, text("system"), "STACK_GLOBAL"),
    "incomplete",
    "hidden-name",
  ],
  ["a very long name", pickle(name("a".repeat(2000), "b")), "incomplete", "limit"],
];

const STRUCTURE: readonly Row[] = [
  ["PROTO late", assemble("NONE", "POP", "PROTO", 2, "NONE", "STOP"), "incomplete", "odd-protocol"],
  ["PROTO twice", pickle("PROTO", 4, "NONE"), "incomplete", "odd-protocol"],
  ["PROTO twice, then a call", pickle("PROTO", 4, SYSTEM), "dangerous", "odd-protocol", "forbidden-global"],
  ["protocol 6", assemble("PROTO", 6, SYSTEM, "STOP"), "dangerous", "odd-protocol", "forbidden-global"],
  ["newer opcodes", assemble("PROTO", 2, text("a"), "STOP"), "incomplete", "newer-opcode"],
  [
    "a memo entry twice",
    assemble("PROTO", 2, "NONE", "BINPUT", 0, "BINPUT", 0, "STOP"),
    "incomplete",
    "memo-overwritten",
  ],
  ["a memo entry that is missing", pickle("BINGET", 7), "incomplete", "malformed-pickle"],
  ["a huge memo index", assemble("PROTO", 2, "NONE", "LONG_BINPUT", uint(4, 0x0fffffff), "STOP"), "clean"],
  ["NEXT_BUFFER", assemble("PROTO", 5, "NEXT_BUFFER", "STOP"), "incomplete", "outside-buffer"],
  [
    "READONLY_BUFFER",
    assemble("PROTO", 5, "NONE", "READONLY_BUFFER", "STOP"),
    "incomplete",
    "outside-buffer",
  ],
  ["a text id", assemble("PROTO", 2, "PERSID", "'data\n", "STOP"), "incomplete", "persistent-id"],
  ["an id that is no storage", pickle(push("key"), "BINPERSID"), "incomplete", "persistent-id"],
  ["no STOP", assemble("PROTO", 2, "NONE"), "incomplete", "malformed-pickle"],
  ["no opcode", assemble("PROTO", 2, 0xff, "STOP"), "incomplete", "malformed-pickle"],
  ["a call before the damage", assemble("PROTO", 2, SYSTEM, 0xff), "dangerous", "malformed-pickle"],
  [
    "a call after what Python's readers disagree about",
    assemble("PROTO", 2, "INT", "' 1\n", SYSTEM, "STOP"),
    "dangerous",
    "malformed-pickle",
  ],
  [
    "a name on the stack after the damage",
    assemble("PROTO", 4, "INT", "'0x1\n", text("os"), text("system"), "STACK_GLOBAL", "STOP"),
    "dangerous",
  ],
  [
    "text with a name that is hidden behind a harmless one after the damage",
    assemble(
      ...["INT", "'0x1\n", "POP", "UNICODE", "'os\n", "UNICODE", "'getcwd\n"],
      ...["UNICODE", "'collections\n", "UNICODE", "'OrderedDict\n"],
      ...["POP", "POP", "BINPUT", 0xc2, "STACK_GLOBAL", "MARK", "TUPLE", "REDUCE", "STOP"],
    ),
    "incomplete",
    "hidden-name",
  ],
  [
    "text with a harmless name that is called after the damage",
    new TextEncoder().encode(`I0x1\n0c${LOADED.replace(/\.(?=_load)/, "\n")}\n(S'cos\\ngetcwd\\n(tR.'\ntR.`),
    "incomplete",
    "malformed-pickle",
  ],
  ["POP of nothing", pickle("POP", "NONE"), "incomplete", "malformed-pickle"],
  ["values left on the stack", pickle("NONE", "NONE", "NONE"), "clean"],
  ["a negative length", pickle("BINSTRING", uint(4, 0xffffffff)), "incomplete", "malformed-pickle"],
  ["a length beyond the end", pickle("BINBYTES8", uint(8, 2 ** 50)), "incomplete", "malformed-pickle"],
  ["a frame beyond the end", pickle("FRAME", uint(8, 1000), "NONE"), "incomplete", "malformed-pickle"],
  [
    "frames in frames",
    pickle("FRAME", uint(8, 20), "FRAME", uint(8, 1), "NONE"),
    "incomplete",
    "malformed-pickle",
  ],
  [
    "a class that is made",
    pickle(call("builtins.type", "X", tuple(), new Map())),
    "incomplete",
    "made-class",
  ],
  ["the type of None", pickle(call("builtins.type", null)), "clean"],
  ["a codec that hides text", pickle(call("_codecs.encode", "cbf", "rot13")), "incomplete", "odd-codec"],
  ["memory by number", pickle(call("builtins.bytearray", 2 ** 40)), "incomplete", "allocation"],
  [
    "memory by a range",
    pickle(call("builtins.list", call("builtins.range", 2 ** 40))),
    "incomplete",
    "allocation",
  ],
  [
    "a constructor that may run code",
    pickle(call("ultralytics.nn.tasks.DetectionModel", "evil.yaml")),
    "incomplete",
    "constructor-call",
  ],
  [
    "an object of a model",
    pickle(global("torch.nn.modules.linear.Linear"), "EMPTY_TUPLE", "NEWOBJ", push(new Map()), "BUILD"),
    "clean",
  ],
  ["bytes after the end", concat([pickle("NONE"), Uint8Array.of(0, 0, 0)]), "incomplete", "bytes-after-end"],
  ["a second pickle", concat([pickle("NONE"), pickle(SYSTEM)]), "dangerous", "several-pickles"],
  ["a call in the tenth pickle", concat([repeat(9, pickle("NONE")), pickle(SYSTEM)]), "dangerous"],
];

const EVIL = torchPickle(SYSTEM);
const NESTED: readonly Row[] = [
  ["bytes that are a pickle", pickle(bytesOf(EVIL)), "dangerous", "forbidden-global"],
  ["text that stands for a pickle", pickle(push(latin1(EVIL))), "dangerous", "forbidden-global"],
  ["bytes that begin as a pickle", pickle(bytesOf(Uint8Array.of(0x80, 2, 0xff, 0xff))), "clean"],
  [
    "bytes that are loaded",
    pickle(call(LOADED, bytesOf(new TextEncoder().encode("cos\nsystem\n(S'id'\ntR.")))),
    "dangerous",
    "forbidden-global",
  ],
  [
    "text that is loaded",
    torchPickle(call(LOADED, call("_codecs.encode", "cos\nsystem\n.", "latin1"))),
    "dangerous",
    "forbidden-global",
  ],
  [
    "bytes that are loaded, as Python 2 writes them",
    pickle(call(LOADED, assemble("STRING", '\'"\\x80\\x02cos\\nsystem\\n."\n'))),
    "dangerous",
    "forbidden-global",
  ],
  [
    "bytes that are loaded from the memo",
    pickle(bytesOf(EVIL), "PUT", "'70000\n", "POP", global(LOADED), "GET", "'70000\n", "TUPLE1", "REDUCE"),
    "dangerous",
    "forbidden-global",
  ],
  [
    "loading what cannot be followed",
    pickle(call(LOADED, call("io.BytesIO"))),
    "incomplete",
    "indirect-load",
  ],
  [
    "a tensor made by any function",
    pickle(
      call("torch._tensor._rebuild_from_type_v2", global(LOADED), global("torch.Tensor"), tuple(), null),
    ),
    "incomplete",
    "indirect-load",
  ],
  ["pickles in pickles in pickles", nest(7, EVIL), "dangerous", "forbidden-global"],
  ["pickles too deep", nest(12, EVIL), "incomplete", "limit"],
  ["an archive in bytes", pickle(bytesOf(torchFile({ "data.pkl": EVIL }))), "dangerous", "forbidden-global"],
];

function nest(levels: number, inner: Uint8Array): Uint8Array {
  return levels === 0 ? inner : nest(levels - 1, pickle(bytesOf(inner)));
}

const PLAIN = new TextEncoder().encode("cos\nsystem\n(S'id'\ntR.");
const HANDED_ON: readonly Row[] = [
  ["a partial call", call("functools.partial", global(LOADED), bytesOf(PLAIN)), "indirect-load"],
  ["a factory of values", call("collections.defaultdict", global(LOADED)), "indirect-load"],
  [
    "a maker of generators",
    call("numpy.random._pickle.__generator_ctor", bytesOf(PLAIN), global(LOADED)),
    "indirect-load",
  ],
  [
    "a maker of generators that calls a class",
    call("numpy.random._pickle.__bit_generator_ctor", global("torch.nn.modules.rnn.LSTM")),
    "indirect-call",
  ],
  [
    "a maker of generators that calls an object",
    call(
      "numpy.random._pickle.__generator_ctor",
      "MT19937",
      call("functools.partial", global("builtins.str")),
    ),
    "indirect-call",
  ],
  [
    "a value twice from the memo",
    concat([global(LOADED), assemble("MEMOIZE", "POP", "BINGET", 0)]),
    "indirect-load",
  ],
  [
    "a value twice by DUP",
    concat([global(LOADED), assemble("DUP"), bytesOf(pickle("NONE")), assemble("TUPLE1", "REDUCE")]),
    "indirect-load",
  ],
  [
    "the result of a call",
    concat([call("functools.partial", global("builtins.str")), assemble("EMPTY_TUPLE", "REDUCE")]),
    "indirect-call",
  ],
  [
    "what a call handed back",
    call("torch.jit._pickle.build_intlist", global("torch.nn.modules.rnn.LSTM")),
    "indirect-call",
  ],
  ["the class of an object", call("builtins.type", call("argparse.Namespace")), "indirect-call"],
  [
    "a class by NEWOBJ",
    concat([global("builtins.type"), tuple("X", tuple(), new Map()), assemble("NEWOBJ")]),
    "made-class",
  ],
  [
    "a class by a helper",
    call("copyreg.__newobj__", global("builtins.type"), "X", tuple(), new Map()),
    "made-class",
  ],
  ["a class by its metaclass", call("enum.EnumMeta", "X", tuple(), new Map()), "made-class"],
  [
    "the constructor of a base",
    call(
      "copyreg._reconstructor",
      global("ultralytics.nn.tasks.DetectionModel"),
      global("ultralytics.nn.tasks.DetectionModel"),
      "evil.yaml",
    ),
    "constructor-call",
  ],
  ["the constructor of an optimizer", call("torch.optim.sgd.SGD", "x"), "constructor-call"],
  ["a storage by number", call("torch.FloatStorage", 2 ** 40), "allocation"],
  ["a tensor by number", call("torch.FloatTensor", 2 ** 40), "allocation"],
  ["a type that hides its objects", hidingType(0), "malformed-pickle"],
  [
    "a type made of a type",
    concat([
      call("numpy.dtype", call("numpy.dtype", "O8")),
      tuple(3, "|", null, null, null, -1, -1, 0),
      assemble("BUILD"),
    ]),
    "malformed-pickle",
  ],
  ["a module named like a class", global("torch.nn.modules.activation.F"), "unknown-global"],
  ["the network named like a class", global("torch.nn.parallel.distributed.RRef"), "unknown-global"],
  [
    "a compiler of graphs",
    global("torch.distributed.tensor.experimental._tp_transform.GraphModule"),
    "unknown-global",
  ],
].map(([title, value, code]) => [title, pickle(value as Uint8Array), "incomplete", code] as Row);

/** A structured type with a field of Python objects; 27 are the flags that NumPy gives it. */
function hidingType(flags: number): Uint8Array {
  const fields = new Map([["a", tuple(call("numpy.dtype", "O8", false, true), 0)]]);
  const state = tuple(3, "|", null, tuple("a"), fields, 8, 1, flags);
  return concat([call("numpy.dtype", "V8", false, true), state, assemble("BUILD")]);
}

const LIMITS: readonly Row[] = [
  ["a type that owns up to its objects", pickle(hidingType(27)), "clean"],
  [
    "an honest generator",
    pickle(
      call(
        "numpy.random._pickle.__generator_ctor",
        "MT19937",
        global("numpy.random._pickle.__bit_generator_ctor"),
      ),
    ),
    "clean",
  ],
  ["a bomb of DUPs and tuples", pickle("EMPTY_TUPLE", repeat(300, "DUP", "TUPLE2")), "clean"],
  ["a list of itself", pickle("EMPTY_LIST", "MEMOIZE", "BINGET", 0, "APPEND"), "clean"],
  ["many marks", pickle(repeat(100_000, "MARK")), "incomplete", "limit"],
  ["deep nesting", pickle(repeat(200_000, "EMPTY_LIST"), repeat(199_999, "APPEND")), "clean"],
  ["a long item list", pickle("EMPTY_LIST", "MARK", repeat(300_000, "NONE"), "APPENDS"), "clean"],
  ["a long number", pickle("LONG4", uint(4, 100_000), new Uint8Array(100_000)), "incomplete", "limit"],
  ["a number of many digits", pickle("INT", `'${"1".repeat(5000)}\n`), "incomplete"],
  [
    "a deep key",
    pickle("EMPTY_DICT", "EMPTY_TUPLE", repeat(5000, "TUPLE1"), "NONE", "SETITEM"),
    "incomplete",
  ],
  ["many pickles", repeat(10_001, pickle("NONE")), "incomplete", "limit"],
];

for (const [title, rows] of Object.entries({ NAMES, STRUCTURE, NESTED, HANDED_ON, LIMITS })) {
  for (const row of rows) test(`pickles, ${title.toLowerCase()}: ${row[0]}`, () => checkRow(row));
}

test("the same in a PyTorch archive", async () => {
  for (const [what, bytes, verdict] of [...NAMES, ...STRUCTURE]) {
    if (/second|tenth|text id|id that is no/.test(what)) continue;
    const report = await scanned(torchFile({ "data.pkl": bytes }));
    assert.equal(report.verdict, verdict, what);
  }
});

test("all dangerous names are found, with places, and whether they are called", async () => {
  const one = assemble(SYSTEM, "POP", global("builtins.eval"), "POP", global("company.X"), "POP");
  const { findings, globals, verdict } = await scanned(
    torchFile({ "data.pkl": torchPickle(assemble(one, "NONE")) }),
  );
  assert.equal(verdict, "dangerous");
  const shown = findings.map(({ code, global, opcode, at, member }) => [code, global, opcode, at, member[0]]);
  assert.deepEqual(shown, [
    ["forbidden-global", "os.system", 'GLOBAL "os.system"', 2, "model/data.pkl"],
    ["forbidden-global", "builtins.eval", 'GLOBAL "builtins.eval"', shown[1]![3], "model/data.pkl"],
    ["unknown-global", "company.X", 'GLOBAL "company.X"', shown[2]![3], "model/data.pkl"],
  ]);
  assert.match(findings[0]!.message, /^names "os\.system", which runs programs, and calls it$/);
  assert.doesNotMatch(findings[1]!.message, /calls/);
  assert.deepEqual(
    globals.map(({ name, role, called, count }) => [name, role, called, count]),
    [
      ["os.system", "forbidden", true, 1],
      ["builtins.eval", "forbidden", false, 1],
      ["company.X", "unknown", false, 1],
    ],
  );
});

test("the place in the file is that of the opcode", async () => {
  const file = torchFile({ "data.pkl": torchPickle(SYSTEM) });
  const [finding] = (await scanned(file)).findings;
  assert.equal(
    new TextDecoder().decode(file.subarray(finding!.fileOffset!, finding!.fileOffset! + 10)),
    "cos\nsystem",
  );
});

test("a flood of findings hides nothing and keeps the report small", async () => {
  const flood = Array.from({ length: 11_000 }, (_, index) => assemble(global(`company.X${index}`), "POP"));
  const report = await scanned(pickle(...flood, global("os.system")));
  assert.equal(report.verdict, "dangerous");
  assert.equal(report.findings.length, 1000);
  assert.equal(report.findingCount, 11_001);
  assert.ok(report.findings.some(({ code }) => code === "forbidden-global"));
  assert.ok(report.globals.length <= 10_000);
});

test("names that steer a terminal are escaped", async () => {
  const { findings } = await scanned(pickle(name("os", "\u001b[31msystem\u202e")));
  assert.match(findings[0]!.message, /\\u001b\[31msystem\\u202e/);
});

test("tensors in a plain pickle are not accounted for, those in an archive are", async () => {
  assert.equal((await scanned(torchPickle(tensor()))).verdict, "incomplete");
  const file = torchFile({ "data.pkl": torchPickle(tensor()), "data/0": new Uint8Array(48) });
  assert.equal((await scanned(file)).verdict, "clean");
});

test("a flood of nested pickles ends", async () => {
  const report = await scanned(pickle(repeat(70_000, bytesOf(torchPickle(assemble("NONE"))), "POP"), "NONE"));
  assert.equal(report.verdict, "incomplete");
  assert.deepEqual([...new Set(report.findings.map(({ code }) => code))], ["limit"]);
});

test("a legacy file is read as far as its pickles go, whatever follows", async () => {
  const loaded = call(LOADED, bytesOf(fixture("scan/training-legacy.ckpt")));
  const { verdict, scanned: members } = await scanned(pickle(loaded));
  assert.equal(verdict, "clean");
  assert.equal(members.length, 2);
});

test("data that may be pickles in a row is not kept as their values", async () => {
  const many = repeat(50_000, "EMPTY_DICT", "BININT1", 1, "NONE", "SETITEM");
  const one = pickle("EMPTY_LIST", "MARK", many, "APPENDS");
  const storage = torchFile({
    "data.pkl": torchPickle(tensor()),
    "data/0": new Uint8Array(48),
    "data/1": repeat(5, one),
  });
  const heaps = await heapsAt("checkValues", storage);
  assert.ok(heaps.length >= 6);
  assert.ok(Math.max(...heaps) - Math.min(...heaps) < 32e6, heaps.join());
});
