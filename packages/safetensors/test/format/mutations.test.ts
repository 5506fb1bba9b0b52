import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SafetensorsError } from "../../src/errors.ts";
import { readCanonicalHeader } from "../../src/format/canonical-header.ts";
import type { Header } from "../../src/format/header.ts";
import { HeaderScanner } from "../../src/format/header-scanner.ts";
import type { ReadMode } from "../../src/format/mode.ts";
import { finishHeader, parseHeader } from "../../src/format/parse-header.ts";
import { concat, numbers } from "../support.ts";
import { modelVerdict } from "./header-model.ts";

const utf8 = new TextEncoder();
const bytes = (text: string): Uint8Array => utf8.encode(text);

/** Headers to start from, each with the length of its data: every form that a header may take. */
const SEEDS: readonly (readonly [json: string, dataLength: number])[] = [
  ["{}", 0],
  ['{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}', 16],
  [
    '{"h.0.w":{"dtype":"BF16","shape":[3,2],"data_offsets":[0,12]},"h.0.b":{"dtype":"BF16","shape":[2],"data_offsets":[12,16]},"h.1.w":{"dtype":"U8","shape":[],"data_offsets":[16,17]}}  ',
    17,
  ],
  [
    '{"__metadata__":{"format":"pt","k":"v"},"x":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"y":{"dtype":"F4","shape":[4,3],"data_offsets":[8,14]}}',
    14,
  ],
  [
    ' \n{ "b" : { "data_offsets" : [ 4 , 8 ] , "shape" : [ 4 ] , "dtype" : "U8" } ,\t"a" : {"dtype":"I8","shape":[2,2],"data_offsets":[0,4]} }\r\n',
    8,
  ],
  [
    '{"\\u0061\\n\\ud83d\\ude00":{"dtype":"F\\u00316","shape":[2],"data_offsets":[0,4]},"a😀é":{"dtype":"U16","shape":[0,9],"data_offsets":[4,4]},"":{"shape":[1],"dtype":"F16","data_offsets":[4,6]}}',
    6,
  ],
  [
    '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":{"x":[1,-2.5e3,true,null,"\\/"],"y":{}}},"__metadata__":null}',
    1,
  ],
  ['{"a":["U8",[4],[0,4]],"b":{"dtype":{"U8":null},"shape":[1],"data_offsets":[4,5]}}', 5],
  [
    '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
    2,
  ],
  ['{"a":{"dtype":"U8","shape":[0,18446744073709551615,3],"data_offsets":[0,0]}}', 0],
];

/** Pieces of text that mean something in a header, or nearly do. */
const TOKENS: readonly Uint8Array[] = [
  ...'{ } [ ] , : " \\ - 0 1 7 8 10 e E . null true'.split(" ").map(bytes),
  ...[" ", "\n", "\t", "\0", "\u001f", "\u007f", "é", "😀", "\u2028", "\ufeff", '\\"', "\\u", "\\u0061"].map(
    bytes,
  ),
  ...[
    "\\ud800",
    "\\ud83d\\ude00",
    "[]",
    "[0]",
    "{}",
    '""',
    '"a":',
    "[0,0]",
    "[1,1]",
    "-0",
    "00",
    "1.0",
    "1e2",
  ].map(bytes),
  ...["9007199254740991", "9007199254740993", "18446744073709551615", "18446744073709551616", "1e400"].map(
    bytes,
  ),
  ...[
    '"dtype"',
    '"shape"',
    '"data_offsets"',
    '"__metadata__"',
    '"U8"',
    '"F32"',
    '"F4"',
    '"F6_E2M3"',
    '"f32"',
  ].map(bytes),
  ...['"__metadata__":{"a":"b"},', '"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},'].map(bytes),
  Uint8Array.of(0x80),
  Uint8Array.of(0xff),
  Uint8Array.of(0xc3),
  Uint8Array.of(0xed, 0xa0, 0x80),
  Uint8Array.of(0xc0, 0x80),
];

/** Mutations of each header. */
const ROUNDS = 250;

/** Changes a header in one place. */
function mutate(json: Uint8Array, next: () => number): Uint8Array {
  const at = next() % (json.length + 1);
  const end = Math.min(at + (next() % 12), json.length);
  const token = TOKENS[next() % TOKENS.length]!;
  const [before, between, after] = [json.subarray(0, at), json.subarray(at, end), json.subarray(end)];
  switch (next() % 7) {
    case 0:
      return concat([before, token, between, after]);
    case 1:
      return concat([before, token, after]);
    case 2:
      return concat([before, after]);
    case 3:
      return concat([before, between, between, after]);
    case 4:
      return concat([after, between, before]);
    case 5: {
      const other = json.slice();
      if (at < other.length) other[at] = next();
      return other;
    }
    default: {
      const other = json.slice();
      if (at < other.length) other[at]! ^= 1 << (next() % 8);
      return other;
    }
  }
}

type Way = (json: Uint8Array, dataLength: number, mode: ReadMode) => Header;

/** The general way alone, with the fast path for entries, and behind the fast path for whole headers. */
const WAYS: readonly Way[] = [
  (json, dataLength, mode) => finishHeader(new HeaderScanner(json, mode, false), dataLength),
  (json, dataLength, mode) => parseHeader(json, dataLength, { mode }),
  (json, dataLength, mode) =>
    (mode === "lenient" ? undefined : readCanonicalHeader(json, dataLength)) ??
    parseHeader(json, dataLength, { mode }),
];

function parse(way: Way, json: Uint8Array, dataLength: number, mode: ReadMode): Header | SafetensorsError {
  try {
    return way(json, dataLength, mode);
  } catch (error) {
    if (error instanceof SafetensorsError) return error;
    throw new Error(`${mode} mode failed on ${JSON.stringify(Buffer.from(json).toString("latin1"))}`, {
      cause: error,
    });
  }
}

/** Compares both modes and all ways with the model; returns whether strict mode accepts the header. */
function check(json: Uint8Array, dataLength: number): boolean {
  const shown = (): string => JSON.stringify(Buffer.from(json).toString("latin1"));
  const models = (["compat", "strict"] as const).map(
    (mode) => [mode, modelVerdict(json, dataLength, mode)] as const,
  );
  let accepted = true;
  for (const way of WAYS) {
    for (const [mode, model] of models) {
      const result = parse(way, json, dataLength, mode);
      accepted = !(result instanceof SafetensorsError);
      if (result instanceof SafetensorsError) {
        if (!("refused" in model)) assert.fail(`${mode} refused ${shown()}: ${result.message}`);
      } else {
        if ("refused" in model) assert.fail(`${mode} accepted ${shown()} in spite of ${model.refused}`);
        assert.deepEqual([...result], model.tensors, shown());
        assert.equal(result.size, model.tensors.length);
      }
    }
    const lenient = parse(way, json, dataLength, "lenient");
    if (lenient instanceof SafetensorsError) assert.fail(`lenient threw ${lenient.message} on ${shown()}`);
    assert.equal(lenient.problems.length === 0, accepted, `${lenient.problems[0]?.message} in ${shown()}`);
    const names = [...lenient.names()];
    assert.equal(names.length, lenient.size);
    // Where the JSON breaks off, see "lenient mode" in errors.test.ts.
    if (lenient.problems.some(({ code }) => /JSON|UTF8/.test(code))) continue;
    for (const name of names)
      assert.equal(lenient.find(name)?.name, name, `${JSON.stringify(name)} in ${shown()}`);
  }
  return accepted;
}

describe("a slow reader made of JSON.parse agrees", () => {
  it("on the headers that the mutations start from", () => {
    const accepted = SEEDS.map(([json, dataLength]) => check(bytes(json), dataLength));
    assert.deepEqual(accepted, [true, true, true, true, true, true, true, false, false, false]);
  });

  for (const [number, [json, dataLength]] of SEEDS.entries()) {
    it(`on mutations of header ${number}: ${json.slice(0, 60)}`, () => {
      const next = numbers(number + 1);
      let accepted = 0;
      for (let round = 0; round < ROUNDS; round++) {
        let mutated = bytes(json);
        for (let count = 1 + (next() % 2); count > 0; count--) mutated = mutate(mutated, next);
        if (check(mutated, dataLength + (next() % 16 === 0 ? 1 : 0))) accepted++;
      }
      // If nothing were accepted, agreement would be cheap.
      if (number < 7) assert.ok(accepted > ROUNDS / 100, `only ${accepted}`);
    });
  }

  it("on every header cut at every place", () => {
    for (const [json, dataLength] of SEEDS) {
      const whole = bytes(json);
      for (let end = 0; end < whole.length; end++) check(whole.subarray(0, end), dataLength);
    }
  });

  it("on every byte of a header replaced by every byte that means something", () => {
    const [json, dataLength] = SEEDS[3]!;
    const mutated = bytes(json);
    const others = Uint8Array.of(0, 10, 31, 127, 128, 0xc3, 0xf0, 255, ...bytes(' "+,-./019:AEU[\\]_ainu{}'));
    for (let at = 0; at < mutated.length; at++) {
      const kept = mutated[at]!;
      for (const byte of others) {
        mutated[at] = byte;
        check(mutated.slice(), dataLength);
      }
      mutated[at] = kept;
    }
  });
});
