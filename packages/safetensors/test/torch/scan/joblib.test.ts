import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { concat } from "../../support.ts";
import { assemble, type Part, repeat, text, uint } from "../pickle/assembler.ts";
import { call, global, type Plain, push, tuple } from "../torch-file.ts";
import { checkRow, type Row, scanned } from "./scanned.ts";

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
const FIELDS = new Map([["a", tuple(call("numpy.dtype", "O8", false, true), 0)]]);

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
      ofType(dtype("V8", tuple(3, "|", null, tuple("a"), FIELDS, 8, 1, 27))),
      assemble("PROTO", 5, "NONE", "STOP"),
    ),
    "clean",
  ],
  [
    "protocol 0",
    file(state(2), BYTES, call("copyreg._reconstructor", global(WRAPPER), global("builtins.object"), null)),
    "clean",
  ],
];

const ODD: readonly Row[] = [
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

const OTHERS: readonly Row[] = [
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

test("a protocol that is announced again and again in an array ends", () =>
  checkRow(["", file(state(10_000), repeat(20_000, "PROTO", 2)), "incomplete", "odd-protocol"]));
