import { test } from "node:test";
import { concat } from "../../support.ts";
import { assemble, repeat } from "../pickle/assembler.ts";
import { call, global, type Plain, push, tuple } from "../torch-file.ts";
import { checkRow, type Row } from "./scanned.ts";

const pickle = (...values: readonly Uint8Array[]): Uint8Array => assemble("PROTO", 4, concat(values), "STOP");
const built = (object: Uint8Array, state: Uint8Array): Uint8Array =>
  concat([object, state, assemble("BUILD")]);
const newObject = (path: string, ...args: readonly Plain[]): Uint8Array =>
  assemble(global(path), tuple(...args), "NEWOBJ");
/** Puts a value into the memo, and takes it off the stack. */
const keep = (index: number, value: Uint8Array): Uint8Array =>
  concat([value, assemble("BINPUT", index, "POP")]);
const kept = (index: number): Uint8Array => assemble("BINGET", index);
const POP = assemble("POP");

const made = (type: Plain): Uint8Array => call("numpy.dtype", type, false, true);
const state = (fields: Plain, flags: number, base: Plain = null, size: Plain = 8): Uint8Array =>
  tuple(3, "|", base, fields === null ? null : tuple("a"), fields, size, 1, flags);
const RECORD = made("V8");
const OBJECT = built(made("O8"), tuple(3, "|", null, null, null, -1, -1, 63));
const NUMBER = built(made("u8"), tuple(3, "<", null, null, null, -1, -1, 0));
const field = (type: Uint8Array): Uint8Array => tuple(type, 0);
const objects = push({ a: field(OBJECT) });
const record = (type: Uint8Array, flags: number): Uint8Array =>
  built(RECORD, state({ a: field(type) }, flags));
/** A type of a stated size with a field. */
const holder = (type: Plain, size: Plain, inner = NUMBER, offset = 0, flags = 0): Uint8Array =>
  built(made(type), state({ a: tuple(inner, offset) }, flags, null, size));
/** A type of a stated size without parts. */
const plain = (type: Plain, size: Plain): Uint8Array => built(made(type), state(null, 0, null, size));
/** A type with an array of bytes in it. */
const arrayIn = (type: Plain, ...shape: readonly number[]): Uint8Array =>
  built(made(type), state(null, 0, tuple(made("u1"), tuple(...shape))));
const ones = (count: number): readonly number[] => new Array<number>(count).fill(1);
/** An array over eight bytes, as NumPy writes it. */
const array = (type: Uint8Array): Uint8Array =>
  built(
    call("numpy._core.multiarray._reconstruct", global("numpy.ndarray"), tuple(0), "b"),
    tuple(1, tuple(1), type, false, assemble("SHORT_BINBYTES", 8, new Uint8Array(8))),
  );
/** The type in the memo is given objects after a use of it. */
const late = (use: Uint8Array, type: Uint8Array = kept(1)): Uint8Array =>
  pickle(keep(1, RECORD), use, POP, built(type, state(objects, 27)));

const HONEST: readonly (readonly [what: string, bytes: Uint8Array])[] = [
  ["objects", pickle(OBJECT)],
  ["a record", pickle(array(record(NUMBER, 0)))],
  ["a record of objects", pickle(array(record(OBJECT, 27)))],
  ["a record of records of objects", pickle(array(record(record(OBJECT, 27), 27)))],
  ["an array in a type", pickle(array(built(RECORD, state(null, 0, tuple(NUMBER, tuple(1))))))],
  ["an array of objects in a type", pickle(array(built(RECORD, state(null, 63, tuple(OBJECT, tuple(1))))))],
  ["a class", pickle(array(record(made(global("ml_dtypes.bfloat16")), 0)))],
  ["a class with its size", pickle(array(record(plain(global("ml_dtypes.int4"), 1), 0)))],
  ["a record of a class", pickle(array(holder(global("numpy.record"), 8)))],
  ["a field with a title", pickle(array(built(RECORD, state({ a: tuple(NUMBER, 0, "t") }, 0))))],
  ["an integer that has fields", pickle(array(holder("i4", -1, made("u1"), 3)))],
  ["a truth value that has a field", pickle(array(holder("b1", -1, made("u1"))))],
  ["text that has a field", pickle(array(holder("S8", 8)))],
  ["an object that has a field", pickle(array(holder("O8", -1, OBJECT, 0, 63)))],
  ["text of four bytes a character", pickle(array(holder("U2", 8)))],
  ["nothing", pickle(plain("V0", 0))],
  ["an array of many dimensions in a type", pickle(array(arrayIn("V8", ...ones(64))))],
  [
    "two types of the same fields",
    pickle(
      keep(1, push({ a: field(NUMBER) })),
      ...[kept(1), kept(1)].map((fields) => concat([built(RECORD, state(fields, 0)), POP])),
      NUMBER,
    ),
  ],
  [
    "a date, as protocol 2 writes its unit",
    pickle(
      built(
        made("M8"),
        tuple(
          4,
          "<",
          ...[null, null, null, -1, -1, 0],
          tuple({}, tuple(call("_codecs.encode", "ns", "latin1"), 1, 1, 1)),
        ),
      ),
    ),
  ],
];

/** An array over the fields in the memo. */
const fieldsOf = (flags: number): readonly Uint8Array[] => [
  keep(1, push({ a: field(NUMBER) })),
  array(built(RECORD, state(kept(1), flags))),
];
const setItem = (key: string): Uint8Array => assemble(kept(1), push(key), field(made("O8")), "SETITEM");
const changed = [...fieldsOf(27), setItem("a")];

const HIDDEN: typeof HONEST = [
  ["objects in a record", pickle(array(record(OBJECT, 0)))],
  ["objects in a record in a record", pickle(array(record(record(OBJECT, 27), 0)))],
  ["objects that are read from bytes", pickle(array(record(OBJECT, 1)))],
  ["objects that are never set", pickle(array(record(OBJECT, 3)))],
  ["numbers as objects", pickle(array(record(NUMBER, 27)))],
  ["objects by another name", pickle(array(record(made("object"), 0)))],
  ["text behind pointers", pickle(array(record(made("T8"), 0)))],
  ["a class that is none of numbers", pickle(array(record(made(global("uuid.UUID")), 0)))],
  ["flags that are no number", pickle(built(RECORD, tuple(3, "|", null, tuple("a"), objects, 8, 1, null)))],
  ["flags that are a long number", pickle(array(record(NUMBER, 2 ** 62)))],
  [
    "fields that a call makes",
    pickle(array(built(RECORD, state(call("collections.OrderedDict", [tuple("a", field(OBJECT))]), 0)))),
  ],
  [
    "a state that a call makes",
    pickle(array(built(RECORD, call("builtins.tuple", [3, "|", null, tuple("a"), objects, 8, 1, 0])))),
  ],
  [
    "a field that a call makes",
    pickle(array(built(RECORD, state({ a: call("builtins.tuple", [OBJECT, 0]) }, 0)))),
  ],
  [
    "a base that a call makes",
    pickle(array(built(RECORD, state(null, 0, call("builtins.tuple", [OBJECT, tuple(1)]))))),
  ],
  ["a base of objects", pickle(array(built(RECORD, state(null, 0, tuple(OBJECT, tuple(1))))))],
  ["more than there is in an item", pickle(array(built(RECORD, state(null, 0, tuple(NUMBER, tuple(2))))))],
  ["a base of no shape", pickle(array(built(RECORD, state(null, 0, tuple(NUMBER, 1)))))],
  ["a base of a long shape", pickle(array(built(RECORD, state(null, 0, tuple(NUMBER, tuple(2 ** 62))))))],
  [
    "a number that is said to be small",
    pickle(array(record(built(made("f16"), tuple(3, "<", null, null, null, 8, 1, 0)), 0))),
  ],
  ["a field beyond the item", pickle(array(built(RECORD, state({ a: tuple(NUMBER, 1) }, 0))))],
  ["a field before the item", pickle(array(built(RECORD, state({ a: tuple(NUMBER, -1) }, 0))))],
  ["long text in an item", pickle(array(record(made("U3"), 0)))],
  ["longer text than its name says", pickle(array(record(plain("U1", 12), 0)))],
  [
    "a record beyond the item",
    pickle(array(record(built(made("V1"), tuple(3, "|", null, null, null, 9, 1, 0)), 0))),
  ],
  ["a field beyond a number", pickle(array(holder("b1", 32, made("u1"), 1)))],
  ["a field beyond a number that is a class", pickle(array(holder(global("builtins.bool"), 1, NUMBER, 24)))],
  ["a field beyond a number that is NumPy's", pickle(array(holder(global("numpy.bool_"), 1, NUMBER, 24)))],
  ["an array beyond a number", pickle(array(arrayIn(global("builtins.bool"), 32)))],
  ["an object beyond a number", pickle(array(holder(global("numpy.bool_"), 1, OBJECT, 24, 27)))],
  ["an object beyond an object", pickle(array(holder("object", 32, OBJECT, 24, 27)))],
  ["an object beyond the item", pickle(array(holder("V8", 8, made("O4"), 4, 27)))],
  ["an object of a class", pickle(array(record(made(global("uuid.UUID")), 27)))],
  ["a field beyond the stated size", pickle(array(holder("V8", 4)))],
  ["a field in less than nothing", pickle(array(holder("V8", -8)))],
  ["less than nothing", pickle(array(plain("V8", -8)))],
  ["text of less than nothing", pickle(array(plain("S8", -8)))],
  ["a size that is no number", pickle(array(plain("V8", null)))],
  ["a class of another size", pickle(array(record(plain(global("ml_dtypes.bfloat16"), 9), 0)))],
  ["a class that is said to be small", pickle(array(plain(global("ml_dtypes.bfloat16"), 1)))],
  ["an array of too many dimensions in a type", pickle(array(arrayIn("V8", ...ones(65))))],
  ["a field that is no type", pickle(array(built(RECORD, state({ a: field(push("O")) }, 0))))],
  [
    "a field of another class",
    pickle(array(built(RECORD, state({ a: field(call("numpy.dtypes.ObjectDType")) }, 0)))),
  ],
  [
    "a field that is no type of NumPy's",
    pickle(keep(1, call("builtins.str", "u8")), array(record(kept(1), 0))),
  ],
  ["a class of types", pickle(array(built(call("numpy.dtypes.VoidDType", 8), state(objects, 27))))],
  [
    "a type of a helper",
    pickle(
      built(
        call("copyreg._reconstructor", global("numpy.dtype"), global("builtins.object"), null),
        state(null, 0),
      ),
    ),
  ],
  ["a type by NEWOBJ", pickle(array(built(newObject("numpy.dtype", "V8"), state(null, 0))))],
  ["two states", pickle(array(built(built(RECORD, state(null, 0)), state(null, 0))))],
  ["a field that is added later", pickle(...fieldsOf(27), setItem("b"))],
  ["a field that is set anew", pickle(...changed)],
  [
    "a field that is set anew, and handed to another type",
    pickle(...changed, built(RECORD, state(kept(1), 27))),
  ],
  [
    "a part that is given objects later",
    pickle(
      keep(1, RECORD),
      keep(2, built(RECORD, state({ a: field(kept(1)) }, 27))),
      built(kept(1), state(objects, 27)),
    ),
  ],
  ["a part of itself", pickle(keep(1, RECORD), built(kept(1), state({ a: field(kept(1)) }, 0)))],
  ["objects that come after the array", late(array(kept(1)))],
  [
    "objects that come after the array's state",
    pickle(array(assemble(RECORD, "BINPUT", 1)), built(kept(1), state(objects, 27))),
  ],
  [
    "objects that come after the call",
    late(call("numpy._core.multiarray.scalar", kept(1), assemble("SHORT_BINBYTES", 8, new Uint8Array(8)))),
  ],
  ["objects that come after the object", late(newObject("numpy.ndarray", tuple(0), kept(1)))],
  ["objects by another reference", late(push(null), made(kept(1)))],
];

const HANDED_ON: typeof HONEST = [
  "numpy.core.multiarray.scalar",
  "torch.jit._pickle.restore_type_tag",
  "torch.storage._load_from_bytes",
].map((path) => [path, late(array(kept(1)), call(path, kept(1), "x"))]);

for (const [what, bytes] of HONEST) test(`types of NumPy: ${what}`, () => checkRow([what, bytes, "clean"]));
for (const [what, bytes] of HIDDEN) {
  const row: Row = [what, bytes, "incomplete", "malformed-pickle"];
  test(`types of NumPy that are made otherwise: ${what}`, () => checkRow(row));
}
for (const [what, bytes] of HANDED_ON) {
  const row: Row = [what, bytes, "incomplete", "indirect-call"];
  test(`a state of what another call hands on: ${what}`, () => checkRow(row));
}

test("a thousand types of the same thousands of fields, and as many states of one, are judged soon", async () => {
  const fields = push(Object.fromEntries(Array.from({ length: 20_000 }, (_, at) => [`f${at}`, kept(2)])));
  const start = [keep(2, field(NUMBER)), keep(3, fields), keep(4, state(kept(3), 0))];
  const type = concat([RECORD, kept(4), assemble("BUILD", "POP")]);
  const types = pickle(...start, repeat(20_000, type), NUMBER);
  await checkRow(["types", types, "clean"]);
  const states = pickle(...start, keep(1, RECORD), repeat(20_000, kept(1), kept(4), "BUILD", "POP"), NUMBER);
  await checkRow(["states", states, "incomplete", "malformed-pickle"]);
});
