import { test } from "node:test";
import { concat } from "../../support.ts";
import { assemble } from "../pickle/assembler.ts";
import { call, global, type Plain, push, tuple } from "../torch-file.ts";
import { checkRow, type Row } from "./scanned.ts";

const pickle = (...values: readonly Uint8Array[]): Uint8Array => assemble("PROTO", 4, concat(values), "STOP");
const built = (object: Uint8Array, state: Plain): Uint8Array =>
  concat([object, push(state), assemble("BUILD")]);
const type = (name: string, flags: number): Uint8Array =>
  built(
    call("numpy.dtype", name, false, true),
    tuple(3, name === "O8" ? "|" : "<", null, null, null, -1, -1, flags),
  );
const OBJECT = type("O8", 63);
const FLOAT = type("f4", 0);
const LETTER = assemble("SHORT_BINBYTES", 1, "'b");
const empty = (made = "numpy.ndarray"): Uint8Array =>
  call("numpy._core.multiarray._reconstruct", global(made), tuple(0), LETTER);
const bytes = (length: number): Uint8Array => assemble("SHORT_BINBYTES", length, new Uint8Array(length));
const array = (shape: Plain, of: Uint8Array, items: Plain, made?: string): Uint8Array =>
  built(empty(made), tuple(1, shape, of, false, items));
const masked = (items: Plain, mask: Plain, filler: Plain): Uint8Array =>
  built(
    call(
      "numpy.ma.core._mareconstruct",
      ...[global("numpy.ma.MaskedArray"), global("numpy.ndarray"), tuple(0), LETTER],
    ),
    tuple(1, tuple(2), FLOAT, false, items, mask, filler),
  );
const frombuffer = call("numpy._core.numeric._frombuffer", bytes(8), FLOAT, tuple(2), "C");
const settings = call("argparse.Namespace");

const HONEST: readonly (readonly [what: string, value: Uint8Array])[] = [
  ["numbers", array(tuple(2), FLOAT, bytes(8))],
  ["no dimensions", array(tuple(), FLOAT, bytes(4))],
  ["nothing", array(tuple(0, 3), FLOAT, bytes(0))],
  ["numbers as text, as Python 2 writes them", array(tuple(2), FLOAT, "\0".repeat(8))],
  [
    "numbers as protocol 2 writes them",
    array(tuple(2), FLOAT, call("_codecs.encode", "\0".repeat(8), "latin1")),
  ],
  ["nothing as protocol 2 writes it", array(tuple(0), FLOAT, call("builtins.bytes"))],
  ["a state without a version", built(empty(), tuple(tuple(2), FLOAT, false, bytes(8)))],
  ["objects", array(tuple(2, 1), OBJECT, [settings, null])],
  ["no objects", array(tuple(0), OBJECT, [])],
  ["an object of no dimensions", array(tuple(), OBJECT, [1])],
  [
    "objects that hold the array",
    assemble(empty(), "BINPUT", 0, tuple(1, tuple(1), OBJECT, false, [assemble("BINGET", 0)]), "BUILD"),
  ],
  ["a matrix", array(tuple(1, 1), OBJECT, [1], "numpy.matrix")],
  ["an array with a mask", masked(bytes(8), bytes(2), array(tuple(), FLOAT, bytes(4)))],
  ["an array over bytes", frombuffer],
  ["what is masked", call("numpy.ma.core.MaskedConstant")],
  ["an array of another class", built(empty("company.Array"), tuple(1, 2))],
];

const ODD: readonly (readonly [what: string, value: Uint8Array, code?: Row[3]])[] = [
  ["too few objects", array(tuple(6), OBJECT, [null, null])],
  ["no objects for a shape", array(tuple(3e8), OBJECT, [])],
  ["too many objects", array(tuple(1), OBJECT, [null, null])],
  ["too few objects for a matrix", array(tuple(2, 2), OBJECT, [1], "numpy.matrix")],
  ["too few objects without a version", built(empty(), tuple(tuple(2), OBJECT, false, [1]))],
  ["objects that a call makes", array(tuple(2), OBJECT, call("builtins.list", [1]))],
  [
    "objects that come later",
    concat([
      assemble(push([]), "BINPUT", 0, "POP"),
      array(tuple(1), OBJECT, assemble("BINGET", 0)),
      assemble("BINGET", 0, push(1), "APPEND", "POP"),
    ]),
  ],
  ["bytes that are no items", array(tuple(3), FLOAT, bytes(8))],
  ["a shape below nothing", array(tuple(-1, -2), OBJECT, [1, 2])],
  ["a shape that overflows", array(tuple(2 ** 32, 2 ** 32), FLOAT, bytes(0))],
  ["a shape of too many dimensions", array(tuple(...new Array<number>(65).fill(1)), FLOAT, bytes(4))],
  ["a shape that a call makes", array(call("torch.Size", tuple(2)), OBJECT, [1, 2])],
  ["a shape that is a list", array([2], OBJECT, [1, 2])],
  ["a state that a call makes", built(empty(), call("builtins.tuple", [1, tuple(2), OBJECT, false, []]))],
  ["a state of other parts", built(empty(), tuple(1, tuple(2), OBJECT, false, [1, 2], 0))],
  ["a mask of too few", masked(bytes(8), bytes(1), null)],
  ["a mask of objects", masked(bytes(8), [1], null)],
  ["an object beneath the mask", masked(bytes(8), bytes(2), settings)],
  [
    "two states",
    built(array(tuple(2), FLOAT, bytes(8)), tuple(1, tuple(1), FLOAT, false, bytes(4))),
    "indirect-call",
  ],
  [
    "a state of an array over bytes",
    built(frombuffer, tuple(1, tuple(1), FLOAT, false, bytes(4))),
    "indirect-call",
  ],
  ["another array of what is masked", empty("numpy.ma.core.MaskedConstant"), "constructor-call"],
  ["a state of what is masked", built(call("numpy.ma.core.MaskedConstant"), { a: 1 })],
  [
    "items of an array",
    assemble(array(tuple(2), OBJECT, [1, 2]), push(0), push(1), "SETITEM"),
    "indirect-call",
  ],
];

for (const [what, value] of HONEST) {
  const isUnknown = what.includes("another class");
  const row: Row = isUnknown
    ? [what, pickle(value), "incomplete", "unknown-global"]
    : [what, pickle(value), "clean"];
  test(`arrays of NumPy: ${what}`, () => checkRow(row));
}
for (const [what, value, code = "malformed-pickle"] of ODD) {
  test(`arrays of NumPy that reach other memory: ${what}`, () =>
    checkRow([what, pickle(value), "incomplete", code]));
}
