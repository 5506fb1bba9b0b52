import assert from "node:assert/strict";
import { test } from "node:test";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import type { ErrorCode } from "../../src/errors.ts";
import { openNumpy } from "../../src/numpy/index.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { observed } from "../../src/source/observed.ts";
import { fixture } from "../fixtures.ts";
import { concat, noise, raises, stridedViewOf } from "../support.ts";
import { type HeaderParts, headerText, npyAround } from "./npy-file.ts";

const open = (file: Uint8Array): Promise<Checkpoint> => openNumpy(fromBytes(file));
const DATA = noise(24);

test("every way to write a header that NumPy reads is read", async () => {
  for (const [text, version] of [
    [headerText(), [1, 0]],
    [headerText(), [2, 0]],
    [headerText(), [3, 0]],
    ["{'shape':(2,3),'fortran_order':False,'descr':'<f4'}", [1, 0]],
    [`  ${headerText()}  `, [1, 0]],
    [headerText({ shape: "(2L, 3L)" }), [1, 0]],
    [headerText({ shape: "(2, 3,)" }), [2, 0]],
    [headerText({ descr: '"<f4"' }), [1, 0]],
  ] as const) {
    const tensor = (await open(npyAround(text, DATA, version))).get("arr_0");
    assert.deepEqual([tensor.dtype, tensor.shape], ["F32", [2, 3]]);
    assert.deepEqual(new Uint8Array(await tensor.bytes()), DATA.slice());
  }
});

test("a long header is read whole", async () => {
  const file = npyAround(headerText() + " ".repeat(100_000), DATA, [2, 0]);
  const traffic = { requests: 0, bytes: 0 };
  const checkpoint = await openNumpy(observed(fromBytes(file), traffic));
  assert.deepEqual(checkpoint.get("arr_0").shape, [2, 3]);
  assert.equal(traffic.requests, 2);
});

test("byte order of single bytes means nothing, and Fortran order is strides", async () => {
  for (const [descr, dtype] of [
    ["'|b1'", "BOOL"],
    ["'<i1'", "I8"],
    ["'>u1'", "U8"],
  ] as const) {
    const tensor = (await open(npyAround(headerText({ descr, shape: "(24,)" }), DATA))).get("arr_0");
    assert.equal(tensor.dtype, dtype);
    assert.deepEqual(new Uint8Array(await tensor.bytes()), DATA.slice());
  }
  const fortran = await open(npyAround(headerText({ fortran: "True" }), DATA));
  assert.deepEqual(stridedViewOf(fortran.get("arr_0")).strides, [1, 2]);
});

test("what is wrong with a header is said", async () => {
  const of = (parts: HeaderParts, data: Uint8Array = DATA): Uint8Array => npyAround(headerText(parts), data);
  const cases: readonly (readonly [file: Uint8Array, code: ErrorCode, message: RegExp])[] = [
    [npyAround(headerText(), DATA, [1, 1]), "UNSUPPORTED", /version 1\.1/],
    [npyAround(headerText(), DATA, [0, 0]), "UNSUPPORTED", /version 0\.0/],
    [npyAround(headerText(), DATA, [4, 0]), "UNSUPPORTED", /version 4\.0/],
    [npyAround("[1]", DATA), "INVALID_HEADER", /no dict/],
    [npyAround("{}", DATA), "INVALID_HEADER", /the keys of an empty dict/],
    [npyAround(`{'x': 1, ${headerText().slice(1)}`, DATA), "INVALID_HEADER", /keys "descr", .*"x"/],
    [npyAround(headerText().replace("descr", "dtype"), DATA), "INVALID_HEADER", /keys "dtype", /],
    [npyAround(`{'descr': '<f8', ${headerText().slice(1)}`, DATA), "DUPLICATE_KEY", /"descr" twice/],
    [of({ fortran: "0" }), "INVALID_HEADER", /neither True nor False/],
    [of({ shape: "6" }), "INVALID_HEADER", /shape is no tuple/],
    [of({ shape: "[2, 3]" }), "INVALID_HEADER", /shape is no tuple/],
    [of({ shape: "(2, True)" }), "INVALID_HEADER", /whole numbers/],
    [of({ shape: "(2, -3)" }), "INVALID_HEADER", /unknown kind/],
    [of({ shape: "(9007199254740992,)" }), "UNSAFE_INTEGER", /2\^53/],
    [of({ shape: "(9007199254740991,)" }), "SIZE_OVERFLOW", /2\^53/],
    [of({ shape: "(0, 4503599627370496, 4503599627370496)" }, noise(0)), "SIZE_OVERFLOW", /2\^53/],
    [of({ shape: `(${"1000000, ".repeat(64)})` }), "SIZE_OVERFLOW", /2\^53/],
    [of({ shape: `(${"1, ".repeat(65)})` }), "LIMIT_EXCEEDED", /65 dimensions/],
    [of({ shape: "(2, 4)" }), "TRUNCATED", /needs \d+ bytes/],
    [of({ shape: "(5,)" }), "TRAILING_BYTES", /4 more bytes/],
    [of({ shape: "()" }), "TRAILING_BYTES", /20 more bytes/],
    [of({ descr: "3" }), "INVALID_HEADER", /no name of a type/],
    [of({ descr: "True" }), "INVALID_HEADER", /no name of a type/],
    [of({ descr: "{}" }), "INVALID_HEADER", /no name of a type/],
    [of({ descr: "('<f4', (2,))" }), "UNSUPPORTED", /elements that are arrays/],
    [of({ descr: "[('a', '<f4')]" }), "UNSUPPORTED", /structured/],
    [of({ descr: "'f4'" }), "UNKNOWN_DTYPE", /"f4"/],
    [of({ descr: "'=f4'" }), "UNKNOWN_DTYPE", /"=f4"/],
    [of({ descr: "'|f4'" }), "UNKNOWN_DTYPE", /"\|f4"/],
    [of({ descr: "'<f5'" }), "UNKNOWN_DTYPE", /"<f5"/],
    [of({ descr: "''" }), "UNKNOWN_DTYPE", /""/],
    [of({ descr: "'<f4, <f4'" }), "UNKNOWN_DTYPE", /"<f4, <f4"/],
    [npyAround(Buffer.from("{'\xff'", "latin1"), DATA, [3, 0]), "INVALID_UTF8", /not UTF-8/],
  ];
  for (const [file, code, message] of cases) {
    await assert.rejects(open(file), raises(code, message, { tensor: "arr_0" }), `${code} ${message}`);
  }
});

test("a header above the limit is refused before it is read", async () => {
  const file = npyAround(headerText(), DATA, [2, 0]);
  new DataView(file.buffer).setUint32(8, 0xffffffff, true);
  const details = { limit: "MAX_NPY_HEADER_BYTES" };
  await assert.rejects(open(file), raises("LIMIT_EXCEEDED", /4294967295 bytes/, details));
});

test("a file that is cut anywhere is refused, and so is what is none", async () => {
  for (const name of ["one.npy", "version-2.npy", "scalar.npy"]) {
    const whole = fixture(`numpy/${name}`);
    for (let length = 0; length < whole.length; length++) {
      const code = length < 6 ? "INVALID_HEADER" : "TRUNCATED";
      await assert.rejects(open(whole.subarray(0, length)), raises(code), `${name} of ${length} bytes`);
    }
    await assert.rejects(open(concat([whole, noise(1)])), raises("TRAILING_BYTES"));
  }
  await assert.rejects(open(noise(100)), raises("INVALID_HEADER", /neither a NumPy array nor an archive/));
});
