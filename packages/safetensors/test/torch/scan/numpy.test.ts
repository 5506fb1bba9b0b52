import { test } from "node:test";
import { headerText, npyAround } from "../../numpy/npy-file.ts";
import { concat } from "../../support.ts";
import { buildZip } from "../../zip/zip-builder.ts";
import { assemble } from "../pickle/assembler.ts";
import { call, global, push, tuple } from "../torch-file.ts";
import { checkRow, type Row } from "./scanned.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const EVIL = assemble("PROTO", 4, call("os.system", "x"), "STOP");
const PLAIN = assemble("PROTO", 4, push({ a: 1 }), "STOP");

const array = (descr: string, bytes: number, shape = "(2,)", version: 1 | 3 = 1): Uint8Array =>
  npyAround(utf8(headerText({ descr, shape })), new Uint8Array(bytes), [version, 0]);
const objects = (pickle: Uint8Array): Uint8Array => npyAround(headerText({ descr: "'|O'" }), pickle);
const FLOATS = array("'<f4'", 8);

/** Types, and the bytes of two items, as NumPy counts them. */
const TYPES: readonly (readonly [descr: string, bytes: number])[] = [
  ["'<f4'", 8],
  ["'|b1'", 2],
  ["'?'", 2],
  ["'<U3'", 24],
  ["'|S5'", 10],
  ["'|V0'", 0],
  ["'<M8[25s]'", 16],
  ["'<c32'", 64],
  ["[('a', '<f4'), ('b', '<i8', (2, 3))]", 104],
  ["[('a', [('x', '<f4'), ('y', '<U7')]), ('b', '|S3')]", 70],
  ["[(('title', 'name'), '<f4')]", 8],
  ["[(\"it's\", '<f4'), ('a\"b', '<f4')]", 16],
  ["[(\"x', '|O\", '<f4')]", 8],
  ["[('a\\\\b', '<f4'), ('', '|V4')]", 16],
  ["[('a', ('<f4', (2,)), (3,))]", 48],
  ["[]", 0],
  [`[${Array.from({ length: 2500 }, (_, at) => `('field number ${at}', '<f4')`).join()}]`, 20_000],
];

const UNKNOWN = [
  "None",
  "3.5",
  "True",
  "['aO']",
  "[['a', '|O']]",
  "('<f4', 2)",
  "('|V0', (8,))",
  "('<f4', (2,), 1)",
  "('V8', [('a', '|O')])",
  "'|V2000000000'",
  "[('a', '|V99999999', (99,))]",
  "'T'",
  "'O' '8'",
  "{'names': ['a'], 'formats': ['O']}",
];

const ROWS: readonly Row[] = [
  ...TYPES.flatMap(([descr, bytes]): Row[] => {
    // Longer headers than those of version 1 have a length of four bytes.
    const one = array(descr, bytes, "(2,)", descr.length > 60_000 ? 3 : 1);
    const what = descr.slice(0, 50);
    return [
      [`two of ${what}`, concat([one, one]), "clean"],
      [`objects after ${what}`, concat([one, objects(EVIL)]), "dangerous", "forbidden-global"],
      [`another byte after ${what}`, concat([one, new Uint8Array(1)]), "incomplete", "malformed-file"],
      ...(bytes === 0
        ? []
        : [[`too few of ${what}`, one.subarray(0, -1), "incomplete", "malformed-file"] as const]),
    ];
  }),
  ...UNKNOWN.map(
    (descr): Row => [
      `an array of ${descr}`,
      concat([array(descr, 0), EVIL]),
      "dangerous",
      "not-understood",
      "forbidden-global",
    ],
  ),
  ["no items of any size", array("'<f4'", 0, "(0, 9007199254740991, 9007199254740991)"), "clean"],
  ["a number", array("'<f4'", 4, "()"), "clean"],
  ["as many items as there are", array("'<f4'", 8, "(-1,)"), "incomplete", "not-understood"],
  ["characters of UTF-8", array("[('\u540d', '<f4')]", 8, "(2,)", 3), "clean"],
  [
    "another key",
    npyAround("{'descr': '|u1', 'fortran_order': False, 'shape': (0,), 'x': 1}"),
    "incomplete",
    "not-understood",
  ],
  ["a part of a header", FLOATS.subarray(0, 40), "incomplete", "malformed-file"],
  [
    "a very long header",
    npyAround(headerText() + " ".repeat(2 ** 20), EVIL, [2, 0]),
    "dangerous",
    "limit",
    "forbidden-global",
  ],
  [
    "a long header before objects",
    npyAround(headerText({ descr: "'|O'" }) + " ".repeat(20_000), EVIL),
    "dangerous",
    "forbidden-global",
  ],
  ["objects after objects", concat([objects(PLAIN), objects(PLAIN)]), "clean"],
  [
    "harmful objects after objects and numbers",
    concat([objects(PLAIN), FLOATS, objects(EVIL)]),
    "dangerous",
    "forbidden-global",
  ],
  ["numbers after objects", concat([objects(PLAIN), FLOATS]), "clean"],
  ["a pickle after numbers", concat([FLOATS, EVIL]), "dangerous", "forbidden-global", "malformed-file"],
  [
    "a pickle after objects",
    concat([objects(PLAIN), FLOATS, EVIL]),
    "dangerous",
    "forbidden-global",
    "malformed-file",
  ],
  [
    "objects after numbers in an archive",
    buildZip([{ name: "a.npy", data: concat([FLOATS, objects(EVIL)]) }]),
    "dangerous",
    "forbidden-global",
  ],
  [
    "text of any length",
    assemble(
      ...["PROTO", 4],
      call("numpy._core.multiarray._reconstruct", global("numpy.ndarray"), tuple(0), "b"),
      tuple(1, tuple(1), call("numpy._core._internal._convert_to_stringdtype_kwargs", true), false, ["a"]),
      "BUILD",
      "STOP",
    ),
    "clean",
  ],
];

for (const row of ROWS) test(`arrays of NumPy: ${row[0]}`, () => checkRow(row));

test("arrays of NumPy: too many in a row", async () => {
  const empty = array("'<f4'", 0, "(0,)");
  const many = concat(new Array<Uint8Array>(10_000).fill(empty));
  await checkRow(["as many as are looked at", many, "clean"]);
  await checkRow(["more", concat([many, empty]), "incomplete", "limit"]);
});
