import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MAX_GLOBAL_LENGTH } from "../../../src/torch/limits.ts";
import type { GlobalRef } from "../../../src/torch/pickle/values.ts";
import { concat } from "../../support.ts";
import { assemble, type Part, repeat, text, uint } from "../pickle/assembler.ts";
import { call, global, type Plain, push, tuple } from "../torch-file.ts";
import { checkRow, heapsAt, type Row, scanned } from "./scanned.ts";

const WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper";
const MADE = assemble(global(WRAPPER), "EMPTY_TUPLE", "NEWOBJ");
const SYSTEM = call("os.system", "id");
const FLOAT = dtype("f4", tuple(3, "<", null, null, null, -1, -1, 0));

function dtype(name: string, state: Uint8Array, ...more: readonly Part[]): Uint8Array {
  return assemble(call("numpy.dtype", name, false, true), state, "BUILD", ...more);
}

/** The state of a wrapper of `count` floats, as joblib before version 1.2 wrote it unless more is given. */
function state(count: number, more: { readonly [key: string]: Plain } = {}): Uint8Array {
  return push({
    subclass: global("numpy.ndarray"),
    shape: tuple(count),
    order: "C",
    dtype: FLOAT,
    allow_mmap: true,
    ...more,
  });
}

/** A file with one array, whose bytes follow the opcode that sets its state. */
function file(state: Uint8Array, data: Uint8Array, made: Uint8Array = MADE): Uint8Array {
  return assemble("PROTO", 4, made, state, "BUILD", data, "STOP");
}

const padTo = (size: number, ...parts: readonly Part[]): Uint8Array => {
  const bytes = new Uint8Array(size);
  bytes.set(assemble(...parts));
  return bytes;
};
const aligned = (alignment: Plain): Uint8Array => state(2, { numpy_array_alignment_bytes: alignment });
const ofType = (type: Uint8Array): Uint8Array => state(2, { dtype: type });
const BYTES = new Uint8Array(8).fill(1);
const OBJECT = dtype("O8", tuple(3, "|", null, null, null, -1, -1, 63));
const objects = (type: Uint8Array): Uint8Array => state(1, { dtype: type, allow_mmap: false });

/** A file with an array, after a frame that ends so many bytes after the array begins. */
function framed(more: number): Uint8Array {
  const opcodes = assemble(MADE, state(2), "BUILD");
  return assemble("PROTO", 4, "FRAME", uint(8, opcodes.length + more), opcodes, BYTES, "STOP");
}

/** A pickle that calls a name of which it takes the module from its memo. */
function recalling(name: string): Uint8Array {
  return concat([
    assemble("PROTO", 4, text("collections"), "MEMOIZE", "POP", "BINGET", 0, text(name), "MEMOIZE"),
    assemble("STACK_GLOBAL", "EMPTY_TUPLE", "REDUCE", "STOP"),
  ]);
}

/** The same of a module and a name that a pickle around it has otherwise. */
function recallingFrom(module: string, name: string): Uint8Array {
  return concat([
    assemble("PROTO", 4, text(module), "MEMOIZE", "POP", "BINGET", 0, text(name), "MEMOIZE"),
    assemble("STACK_GLOBAL", text("x"), "TUPLE1", "REDUCE", "STOP"),
  ]);
}

/** A pickle that calls the type of NumPy as the one of an array of objects does. */
function recallingType(): Uint8Array {
  return concat([
    assemble("PROTO", 4, text("numpy"), "MEMOIZE", "POP", "BINGET", 0, text("dtype"), "MEMOIZE"),
    assemble("STACK_GLOBAL", tuple("O8", false, true), "REDUCE", "STOP"),
  ]);
}

const FIELDS = new Map([["a", tuple(call("numpy.dtype", "O8", false, true), 0)]]);

/** A call of a class that is harmless by its name. */
const NAMED = global("torch.nn.modules.linear.Linear");
const CONSTRUCTED = assemble(NAMED, text("evil.yaml"), "TUPLE1", "REDUCE");

function framesAround(opcodes: Uint8Array): Uint8Array {
  const inner = assemble("FRAME", uint(8, opcodes.length), opcodes);
  return padTo(160, "FRAME", uint(8, inner.length), inner, "STOP");
}

const INNER = assemble("PROTO", 2, "NONE", "STOP");

const LOADED = call("torch.storage._load_from_bytes", assemble("SHORT_BINBYTES", INNER.length, INNER));

/** `torch.relu`, as protocol 2 writes it, in entry 0 of the memo. */
const RELU = assemble(
  call("builtins.getattr", global("torch._C._VariableFunctionsClass"), "relu"),
  ...["BINPUT", 0, "POP"],
);

const HONEST: readonly Row[] = [
  ["another class of arrays", file(state(2, { subclass: global("numpy.matrix") }), BYTES), "clean"],
  ["an array of old joblib", file(state(2), BYTES), "clean"],
  ["one with padding", file(aligned(16), concat([Uint8Array.of(2, 255, 255), BYTES])), "clean"],
  ["one without, which new joblib writes to a stream", file(aligned(null), BYTES), "clean"],
  ["text", file(ofType(dtype("S4", tuple(3, "|", null, null, null, 4, 1, 0))), BYTES), "clean"],
  ["text of Unicode", file(ofType(dtype("U1", tuple(3, "<", null, null, null, 4, 4, 8))), BYTES), "clean"],
  [
    "fields",
    file(
      ofType(dtype("V4", tuple(3, "|", null, tuple("a"), new Map([["a", tuple(FLOAT, 0)]]), 4, 1, 16))),
      BYTES,
    ),
    "clean",
  ],
  [
    "objects among fields",
    file(
      objects(dtype("V8", tuple(3, "|", null, tuple("a"), FIELDS, 8, 1, 27))),
      assemble("PROTO", 5, "NONE", "STOP"),
    ),
    "clean",
  ],
  ["a frame that ends where an array begins", framed(0), "clean"],
  ["opcodes that a first read cuts", file(state(2), concat([BYTES, repeat(40_000, "NONE", "POP")])), "clean"],
  [
    "an array of objects that names the module of a class again",
    file(objects(OBJECT), recalling("OrderedDict"), assemble(text("shape"), "BINPUT", 0, "POP", MADE)),
    "clean",
  ],
  [
    "an array of objects that names a type of NumPy again",
    file(
      objects(OBJECT),
      recalling("OrderedDict"),
      assemble(
        text("joblib.numpy_pickle"),
        "BINPUT",
        0,
        text("NumpyArrayWrapper"),
        "STACK_GLOBAL",
        "EMPTY_TUPLE",
        "NEWOBJ",
      ),
    ),
    "clean",
  ],
  [
    "an array of objects that calls what is none to others",
    file(
      objects(OBJECT),
      concat([
        assemble(
          "PROTO",
          4,
          global("collections.OrderedDict"),
          "MEMOIZE",
          "POP",
          text("collections"),
          "MEMOIZE",
        ),
        assemble(
          "POP",
          "BINGET",
          0,
          "EMPTY_TUPLE",
          "REDUCE",
          "BINGET",
          1,
          text("OrderedDict"),
          "STACK_GLOBAL",
        ),
        assemble("EMPTY_TUPLE", "REDUCE", "STOP"),
      ]),
      assemble(text("x"), "BINPUT", 0, "BINPUT", 1, "POP", MADE),
    ),
    "clean",
  ],
  [
    "an array of objects in which a name is none to others",
    file(
      objects(OBJECT),
      concat([
        assemble("PROTO", 4, text("collections"), "MEMOIZE", "POP", "BINGET", 0, text("OrderedDict")),
        assemble(
          "STACK_GLOBAL",
          "BINGET",
          0,
          text("OrderedDict"),
          "STACK_GLOBAL",
          "EMPTY_TUPLE",
          "REDUCE",
          "STOP",
        ),
      ]),
      assemble("NONE", "BINPUT", 0, "POP", MADE),
    ),
    "clean",
  ],
  [
    "an array of objects that names a class of two texts",
    file(
      objects(OBJECT),
      concat([
        assemble("PROTO", 4, text("collections"), "MEMOIZE", text("OrderedDict"), "MEMOIZE", "POP", "POP"),
        assemble("BINGET", 0, "BINGET", 1, "STACK_GLOBAL", "STOP"),
      ]),
      assemble(text("x"), "BINPUT", 0, "BINPUT", 1, "POP", MADE),
    ),
    "clean",
  ],
  [
    "an array of objects that calls what is an object to others",
    file(
      objects(OBJECT),
      concat([
        assemble("PROTO", 4, global("collections.OrderedDict"), "MEMOIZE", "POP"),
        assemble("BINGET", 0, "EMPTY_TUPLE", "REDUCE", "STOP"),
      ]),
      assemble(call("collections.OrderedDict"), "BINPUT", 0, "POP", MADE),
    ),
    "clean",
  ],
  ["an array that a first read cuts", file(state(50_000), new Uint8Array(200_000)), "clean"],
  [
    "an array of objects that recalls a type of NumPy, where others find a key",
    file(objects(OBJECT), recallingType(), assemble(text("age"), "BINPUT", 0, "POP", MADE)),
    "clean",
  ],
  [
    "an array of objects that recalls a module, where others find the one of its function",
    file(
      objects(OBJECT),
      recalling("OrderedDict"),
      assemble(text("numpy._core.multiarray"), "BINPUT", 0, "POP", MADE),
    ),
    "clean",
  ],
  [
    "an array of objects that holds a tensor, after a list that is none to others",
    file(
      objects(OBJECT),
      assemble(
        ...["PROTO", 4, "EMPTY_LIST", "MEMOIZE", "POP", "BINGET", 0, "NONE", "APPEND", "POP"],
        ...[LOADED, "STOP"],
      ),
      assemble(text("x"), "BINPUT", 0, "POP", MADE),
    ),
    "clean",
  ],
  [
    "an array of objects that recalls a module, where others find an object",
    file(objects(OBJECT), recalling("OrderedDict"), assemble(FLOAT, "BINPUT", 0, "POP", MADE)),
    "clean",
  ],
  [
    "an array of objects that recalls a module, where others find a class",
    file(
      objects(OBJECT),
      recalling("OrderedDict"),
      assemble(global("argparse.Namespace"), "BINPUT", 0, "POP", MADE),
    ),
    "clean",
  ],
  [
    "bytes that name nothing, after a function of PyTorch",
    file(state(2), padTo(8, "NONE", 0xff), assemble(RELU, MADE)),
    "clean",
  ],
  [
    "bytes that call nothing, after a function of PyTorch",
    file(state(2), padTo(8, "POP", "BINGET", 0, 0xff), assemble(RELU, MADE)),
    "clean",
  ],
  [
    "an array of objects that recalls a module, where others find a number of NumPy",
    file(
      objects(OBJECT),
      recalling("OrderedDict"),
      assemble(
        call("numpy._core.multiarray.scalar", FLOAT, assemble("SHORT_BINBYTES", 4, "'1234")),
        ...["BINPUT", 0, "POP", MADE],
      ),
    ),
    "clean",
  ],
  [
    "bytes that ask for a name that is outside",
    file(state(2), padTo(8, "NONE", "BINPERSID", text(""), "STACK_GLOBAL")),
    "clean",
  ],
  ["bytes that look as a long frame", file(state(20), padTo(80, "FRAME", repeat(8, 9), NAMED)), "clean"],
  ["bytes that refer to what is outside", file(state(2), padTo(8, "BINPERSID", 0xff)), "clean"],
  [
    "bytes that name nothing of which anything is made",
    file(state(2), padTo(8, "INT", "'x\n", "NONE", "STACK_GLOBAL", 0xff)),
    "clean",
  ],
  [
    "protocol 0",
    file(state(2), BYTES, call("copyreg._reconstructor", global(WRAPPER), global("builtins.object"), null)),
    "clean",
  ],
];

const ODD: readonly Row[] = [
  [
    "objects that are to be mapped into memory",
    file(ofType(OBJECT), assemble("PROTO", 5, "NONE", "STOP")),
    "incomplete",
    "malformed-pickle",
  ],
  ["a frame that goes on after an array began", framed(1), "incomplete", "malformed-pickle"],
  [
    "more dimensions than there are",
    file(state(2, { shape: tuple(...Array<number>(64).fill(1), 2) }), BYTES),
    "incomplete",
    "malformed-pickle",
  ],
  ["true for an alignment", file(aligned(true), BYTES), "incomplete", "malformed-pickle"],
  ["a large alignment", file(aligned(257), BYTES), "incomplete", "malformed-pickle"],
  [
    "text of another size than it says",
    file(ofType(dtype("S4", tuple(3, "|", null, null, null, 9, 1, 0))), BYTES),
    "incomplete",
    "malformed-pickle",
  ],
  [
    "numbers that have fields",
    file(ofType(dtype("f4", tuple(3, "|", null, tuple("a"), FIELDS, -1, -1, 1))), BYTES),
    "incomplete",
    "malformed-pickle",
  ],
  [
    "numbers that are said to be objects",
    file(ofType(dtype("f4", tuple(3, "<", null, null, null, -1, -1, 1))), BYTES),
    "incomplete",
    "malformed-pickle",
  ],
  [
    "numbers with a base",
    file(ofType(dtype("f4", tuple(3, "<", tuple(FLOAT, tuple(2)), null, null, -1, -1, 0))), BYTES),
    "incomplete",
    "malformed-pickle",
  ],
  [
    "one array whose state is set twice, and one without",
    file(
      state(2),
      concat([BYTES, assemble("BINGET", 0), state(2), assemble("BUILD"), BYTES]),
      assemble(MADE, MADE, "BINPUT", 0),
    ),
    "incomplete",
    "malformed-pickle",
  ],
  [
    "a type whose state is set twice",
    file(
      ofType(
        dtype(
          "f4",
          tuple(3, "<", null, null, null, -1, -1, 0),
          tuple(3, "<", null, null, null, -1, -1, 0),
          "BUILD",
        ),
      ),
      BYTES,
    ),
    "incomplete",
    "malformed-pickle",
  ],
  [
    "a type of two arguments",
    file(
      ofType(assemble(call("numpy.dtype", "f4", false), tuple(3, "<", null, null, null, -1, -1, 0), "BUILD")),
      BYTES,
    ),
    "incomplete",
    "malformed-pickle",
  ],
  ["a type without a state", file(ofType(call("numpy.dtype", "f4", false, true)), BYTES), "incomplete"],
  ["no class of arrays", file(state(2, { subclass: global("argparse.Namespace") }), BYTES), "incomplete"],
  ["one key more", file(state(2, { read: null }), BYTES), "incomplete", "malformed-pickle"],
  [
    "an array by NEWOBJ with an argument",
    file(state(2), BYTES.subarray(8), assemble(global(WRAPPER), tuple(1), "NEWOBJ")),
    "incomplete",
    "malformed-pickle",
  ],
  [
    "an array by NEWOBJ_EX",
    file(state(2), BYTES.subarray(8), assemble(global(WRAPPER), "EMPTY_TUPLE", "EMPTY_DICT", "NEWOBJ_EX")),
    "incomplete",
    "malformed-pickle",
  ],
  [
    "an array by another helper",
    file(state(2), BYTES.subarray(8), call("copyreg.__newobj__", global(WRAPPER))),
    "incomplete",
    "malformed-pickle",
  ],
  ["an array without a state", assemble(MADE, "STOP"), "incomplete", "malformed-pickle"],
  [
    "an array whose state is set twice",
    file(
      state(2),
      concat([BYTES, assemble("BINGET", 0), state(2), assemble("BUILD"), BYTES]),
      assemble(MADE, "BINPUT", 0),
    ),
    "incomplete",
    "malformed-pickle",
  ],
];

/** The same, which leaves `getattr` in entry 1. */
const KEPT = assemble(
  ...[global("builtins.getattr"), "BINPUT", 1, global("torch._C._VariableFunctionsClass"), text("relu")],
  ...["TUPLE2", "REDUCE", "POP"],
);
const CALLS_RELU = assemble("POP", "BINGET", 0, NAMED, "TUPLE1", "REDUCE", SYSTEM, "STOP");

const OTHERS: readonly Row[] = [
  [
    "pickle.load reads an attribute, where joblib finds a function of PyTorch",
    file(
      state(40),
      padTo(160, "POP", call("builtins.getattr", global("torch.nn.functional.relu"), "__globals__"), "STOP"),
      assemble(RELU, MADE),
    ),
    "dangerous",
    "forbidden-global",
  ],
  [
    "pickle.load reads an attribute, after what the machine refuses",
    file(
      state(40),
      padTo(
        160,
        ...["INT", "'0x1\n", "BINGET", 1, global("torch.nn.functional.relu"), text("__globals__")],
        ...["TUPLE2", "REDUCE", "STOP"],
      ),
      assemble(KEPT, MADE),
    ),
    "incomplete",
    "indirect-call",
  ],
  [
    "pickle.load asks for a name with INST, and no mark",
    file(state(10), padTo(40, "NONE", "INST", "'os\nsystem\n", "STOP")),
    "dangerous",
    "forbidden-global",
  ],
  [
    "pickle.load runs what joblib takes for an array",
    file(state(10), padTo(40, "POP", SYSTEM, "STOP")),
    "dangerous",
    "forbidden-global",
  ],
  [
    "the same after a PROTO",
    file(state(10), padTo(40, "PROTO", 2, SYSTEM, "STOP")),
    "dangerous",
    "forbidden-global",
  ],
  [
    "the same after what the machine refuses",
    file(state(10), padTo(40, "INT", "'0x1\n", SYSTEM, "STOP")),
    "dangerous",
    "forbidden-global",
  ],
  [
    "the same far from the end of the array",
    file(
      state(50_000),
      padTo(200_000, "BINBYTES", uint(4, 190_000), new Uint8Array(190_000), SYSTEM, "STOP"),
    ),
    "dangerous",
    "forbidden-global",
  ],
  [
    "beyond the end of the array, in bytes that joblib reads as text",
    file(
      state(2),
      concat([
        assemble("BINBYTES", uint(4, 70_003), new Uint8Array(3)),
        assemble("POP", "BINBYTES", uint(4, 140_000), repeat(70_000 - 6, 0), SYSTEM, "STOP"),
        new Uint8Array(70_006 - SYSTEM.length - 1),
      ]),
    ),
    "dangerous",
    "forbidden-global",
  ],
  [
    "old joblib runs the end of an array that new joblib pads",
    file(
      state(8, { numpy_array_alignment_bytes: 255 }),
      concat([Uint8Array.of(31), padTo(31, 0), padTo(32, "POP", SYSTEM, "STOP")]),
    ),
    "dangerous",
    "forbidden-global",
  ],
  [
    "the same after many of them",
    file(state(10), padTo(40, repeat(5, "PROTO", 2), SYSTEM, "STOP")),
    "dangerous",
    "forbidden-global",
  ],
  [
    "pickle.load makes a name of other texts than those that stand before it, after what the machine refuses",
    file(
      state(30),
      padTo(
        120,
        assemble(
          global("collections.OrderedDict"),
          "EMPTY_DICT",
          "BUILD",
          "POP",
          text("numexpr"),
          text("evaluate"),
        ),
        assemble(text("collections"), text("OrderedDict"), "POP", "POP", "STACK_GLOBAL", text("1"), "TUPLE1"),
        assemble("REDUCE", "STOP"),
      ),
    ),
    "incomplete",
    "hidden-name",
  ],
  [
    "the same right after it, and with no end",
    file(
      state(10),
      padTo(
        40,
        text("numexpr"),
        text("evaluate"),
        "PUT",
        "' 7\n",
        "STACK_GLOBAL",
        "EMPTY_TUPLE",
        "REDUCE",
        0xff,
      ),
    ),
    "incomplete",
    "hidden-name",
  ],
  [
    "pickle.load calls what has a longer name than is looked at",
    file(
      state(MAX_GLOBAL_LENGTH),
      padTo(
        4 * MAX_GLOBAL_LENGTH,
        ...[text("numexpr"), "BINUNICODE", uint(4, MAX_GLOBAL_LENGTH), repeat(MAX_GLOBAL_LENGTH, "'a")],
        ...["STACK_GLOBAL", "EMPTY_TUPLE", "REDUCE", "STOP"],
      ),
    ),
    "incomplete",
    "hidden-name",
  ],
  [
    "pickle.load asks for a name that a call makes",
    file(
      state(30),
      padTo(
        120,
        text("numexpr"),
        call("builtins.str", "evaluate"),
        "STACK_GLOBAL",
        text("1"),
        "TUPLE1",
        "REDUCE",
        "STOP",
      ),
    ),
    "incomplete",
    "hidden-name",
  ],
  ...[
    (name: string) => call("torch.jit._pickle.restore_type_tag", name, "x"),
    (name: string) => call("numpy._core.multiarray.scalar", call("numpy.dtype", "O8", false, true), name),
    (name: string) => call("copyreg._reconstructor", global("builtins.str"), global("builtins.str"), name),
  ].map(
    (made, index): Row => [
      `pickle.load asks for a name that a call hands on, ${index}`,
      file(
        state(100),
        padTo(400, "POP", made("numexpr"), made("evaluate"), "STACK_GLOBAL", tuple("1"), "REDUCE", "STOP"),
      ),
      "incomplete",
      "hidden-name",
    ],
  ),
  [
    "pickle.load loads another pickle after what the machine refuses",
    file(state(20), padTo(80, "INT", "'0x1\n", "POP", LOADED, "STOP")),
    "incomplete",
    "indirect-load",
  ],
  [
    "pickle.load makes a class after what the machine refuses",
    file(state(20), padTo(80, "INT", "'0x1\n", call("builtins.type", "x"), "STOP")),
    "incomplete",
    "made-class",
  ],
  ["frames nest", file(state(40), framesAround(CONSTRUCTED)), "incomplete", "malformed-pickle"],
  [
    "a frame ends in an opcode",
    file(state(40), padTo(160, "FRAME", uint(8, 3), CONSTRUCTED, "STOP")),
    "incomplete",
    "malformed-pickle",
  ],
  [
    "a frame ends in a text",
    file(state(40), padTo(160, NAMED, "FRAME", uint(8, 2), text("evil.yaml"), "TUPLE1", "REDUCE", "STOP")),
    "incomplete",
    "malformed-pickle",
  ],
  [
    "a frame goes on after the bytes that were read, and has a call of a name before it",
    file(
      state(40),
      padTo(160, NAMED, "FRAME", uint(8, 200_000), text("evil.yaml"), "TUPLE1", "REDUCE", "STOP"),
    ),
    "incomplete",
    "malformed-pickle",
  ],
  [
    "pickle.load overwrites the memo",
    file(state(10), padTo(40, "NONE", "BINPUT", 0, "BINPUT", 0, "STOP")),
    "incomplete",
    "memo-overwritten",
  ],
  [
    "pickle.load loads other bytes than joblib",
    file(state(20), concat([padTo(80, "POP", LOADED, "STOP"), assemble("POP", LOADED)])),
    "incomplete",
    "indirect-load",
  ],
  [
    "pickle.load calls a name that an array of objects recalls from another memo",
    file(
      objects(OBJECT),
      concat([
        assemble("PROTO", 4, text("collections"), "MEMOIZE", text("OrderedDict"), "MEMOIZE", "POP", "POP"),
        assemble("BINGET", 0, "BINGET", 1, "STACK_GLOBAL", "EMPTY_TUPLE", "REDUCE", "STOP"),
      ]),
      assemble(text("numexpr"), "BINPUT", 0, "POP", text("evaluate"), "BINPUT", 1, "POP", MADE),
    ),
    "incomplete",
    "unknown-global",
  ],
  [
    "the same of a module only, where the array has its name",
    file(objects(OBJECT), recalling("OrderedDict"), assemble(text("numexpr"), "BINPUT", 0, "POP", MADE)),
    "incomplete",
    "unknown-global",
  ],
  [
    "the same, where bytes before look as text",
    file(
      objects(OBJECT),
      concat([
        assemble(
          "PROTO",
          4,
          text("collections"),
          "BINPUT",
          0,
          text("OrderedDict"),
          "LONG_BINPUT",
          uint(4, 0x94),
        ),
        assemble("POP", "POP", "BINGET", 0, "SHORT_BINBYTES", 6, 0x8c, 5, "'matc", "POP", "BINGET", 0x94),
        assemble("STACK_GLOBAL", "EMPTY_TUPLE", "REDUCE", "STOP"),
      ]),
      assemble(text("numexpr"), "BINPUT", 0, "POP", text("match"), "LONG_BINPUT", uint(4, 0x94), "POP", MADE),
    ),
    "incomplete",
  ],
  [
    "pickle.load takes texts of Python 2 for a name",
    file(
      state(10),
      padTo(
        40,
        ...["POP", "SHORT_BINSTRING", 2, "'os", "SHORT_BINSTRING", 6, "'getcwd"],
        ...["STACK_GLOBAL", "EMPTY_TUPLE", "REDUCE", "STOP"],
      ),
    ),
    "incomplete",
    "hidden-name",
  ],
  [
    "pickle.load calls a long name",
    file(
      state(400),
      padTo(1600, "POP", "GLOBAL", `'os\n${"path.os.".repeat(140)}getcwd\n`, "EMPTY_TUPLE", "REDUCE", "STOP"),
    ),
    "incomplete",
    "hidden-name",
  ],
  [
    "pickle.load calls eval, where an array of objects names a class of TorchScript",
    file(
      objects(OBJECT),
      recallingFrom("__torch__", "eval"),
      assemble(text("builtins"), "BINPUT", 0, text("set"), "STACK_GLOBAL", "POP", MADE),
    ),
    "dangerous",
    "forbidden-global",
    "unknown-global",
  ],
  [
    "pickle.load opens a file, where an array of objects names a class of a known module",
    file(
      objects(OBJECT),
      recallingFrom("transformers.utils.generic", "FileHandler"),
      assemble(text("logging"), "BINPUT", 0, text("getLogger"), "STACK_GLOBAL", "POP", MADE),
    ),
    "dangerous",
    "forbidden-global",
  ],
  [
    "pickle.load calls a class that joblib only finds named",
    file(
      state(16),
      padTo(64, "PROTO", 2, "BINGET", 0, text("evil.yaml"), "TUPLE1", "REDUCE", "STOP"),
      assemble(global("ultralytics.nn.tasks.DetectionModel"), "BINPUT", 0, "POP", MADE),
    ),
    "incomplete",
    "constructor-call",
  ],
];

for (const [title, rows] of Object.entries({ HONEST, ODD, OTHERS })) {
  for (const row of rows) test(`joblib, ${title.toLowerCase()}: ${row[0]}`, () => checkRow(row));
}

test("random arrays name nothing, also to those who take them for opcodes", async () => {
  const bytes = fc.uint8Array({ minLength: 64, maxLength: 64 });
  await fc.assert(
    fc.asyncProperty(bytes, async (data) => {
      assert.equal((await scanned(file(state(16), data))).verdict, "clean");
    }),
    { seed: 42, numRuns: 300 },
  );
});

test("names behind an array and a failure are listed", async () => {
  const bytes = file(state(2), concat([new Uint8Array(8), assemble("POP", "POP", SYSTEM)]));
  const { globals } = await scanned(bytes);
  assert.ok(globals.some(({ name }) => /\bsystem$/.test(name)));
});

test("names that come after a call of a function of PyTorch are found", async () => {
  const { findings } = await scanned(file(state(40), padTo(160, CALLS_RELU), assemble(RELU, MADE)));
  const names = findings.map((finding) => finding.message).filter((message) => /\bsystem\b/.test(message));
  assert.equal(names.length, 1);
});

test("the values of one reading are gone before those of another are made", async () => {
  const many = repeat(50_000, "EMPTY_DICT", "BININT1", 1, "NONE", "SETITEM");
  const kept = assemble(global("functools.partial"), global("collections.OrderedDict"));
  const values = assemble(kept, "EMPTY_LIST", "MARK", many, "APPENDS", "TUPLE2", "REDUCE");
  const bytes = file(state(2), padTo(8, "NONE", "POP"), assemble(values, MADE));
  const heaps = await heapsAt("onGlobal", bytes, (ref) => (ref as GlobalRef).path === WRAPPER);
  assert.ok(heaps.length >= 4);
  assert.ok(Math.max(...heaps) - Math.min(...heaps) < 8e6, heaps.join());
});

test("where an array cannot be followed, nothing is said of how arrays are used", async () => {
  const { findings } = await scanned(file(state(2, { read: null }), BYTES));
  assert.deepEqual(
    findings.map(({ message }) => /another way/.test(message)),
    findings.map(() => false),
  );
  assert.ok(findings.length > 0);
});

test("many arrays take no longer than as many opcodes", async () => {
  const first = assemble(
    global(WRAPPER),
    "BINPUT",
    0,
    "EMPTY_TUPLE",
    "NEWOBJ",
    state(1),
    "BINPUT",
    1,
    "BUILD",
    "'byte",
    "POP",
  );
  const other = assemble("BINGET", 0, "EMPTY_TUPLE", "NEWOBJ", "BINGET", 1, "BUILD", "'byte", "POP");
  const start = performance.now();
  await checkRow(["", assemble("PROTO", 4, first, repeat(10_000, other), "NONE", "STOP"), "clean"]);
  assert.ok(performance.now() - start < 5000);
});

/** Pickles in a row, each of which goes on at the next one to a reader that takes an array for opcodes. */
function chained(count: number, content: Uint8Array): Uint8Array {
  const header = (items: number): Uint8Array => assemble("PROTO", 4, MADE, state(items), "BUILD");
  const items = (content.length + 5) / 4;
  const one = concat([
    header(items),
    content,
    assemble("BINBYTES", uint(4, 1 + header(items).length), "STOP"),
  ]);
  return concat([repeat(count, one), assemble("NONE", "STOP")]);
}

test("other readers are not followed from each pickle in a row to the end of the file", async () => {
  const bytes = chained(800, repeat(999, "NONE", "POP").subarray(0, 1995));
  const start = performance.now();
  await checkRow(["", bytes, "incomplete", "limit"]);
  assert.ok(performance.now() - start < 8000);
});

test("honest pickles in a row are followed to their ends", async () => {
  const one = file(state(2), padTo(8, "NONE", "BINBYTES", 0, 0, 0, 0x7f));
  await checkRow(["", repeat(100, one), "clean", "several-pickles"]);
  const late = assemble("PROTO", 4, repeat(5000, "NONE", "POP"), one.subarray(2));
  await checkRow(["", repeat(3, late), "clean", "several-pickles"]);
});
