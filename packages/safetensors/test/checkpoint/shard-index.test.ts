import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  checkNumbering,
  checkShardFileName,
  parseShardIndex,
  type ShardIndex,
} from "../../src/checkpoint/shard-index.ts";
import { raises } from "../support.ts";

const parse = (json: string | Uint8Array): ShardIndex =>
  parseShardIndex(typeof json === "string" ? new TextEncoder().encode(json) : json);

const escaped = (text: string): string =>
  text.replace(/./g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);

describe("parseShardIndex", () => {
  it("reads what huggingface_hub and transformers write", () => {
    const index = parse(`{
  "metadata": {
    "total_size": 72.0, "total_parameters": 18, "format": "pt"
  },
  "weight_map": {
    "b.weight": "model-00002-of-00002.safetensors",
    "a.weight": "model-00001-of-00002.safetensors",
    "a.bias": "model-00001-of-00002.safetensors"
  }
}
`);
    assert.deepEqual([...index.weightMap.keys()], ["b.weight", "a.weight", "a.bias"]);
    assert.equal(index.weightMap.get("b.weight"), "model-00002-of-00002.safetensors");
    assert.deepEqual(index.files, ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]);
    assert.deepEqual(index.metadata, { total_size: 72, total_parameters: 18, format: "pt" });
  });

  it("takes any metadata, with escapes and all, or none", () => {
    assert.deepEqual(parse('{"weight_map":{}}').metadata, {});
    const text = 'a "quoted"\nline \\ \u2028 😀';
    const metadata = { [text]: [text, { __proto__x: text }], n: 1e300, deep: { a: [[]] } };
    assert.deepEqual(parse(JSON.stringify({ metadata, weight_map: {} })).metadata, metadata);
    assert.deepEqual(parse(JSON.stringify({ weight_map: {}, metadata })).metadata, metadata);
    for (const other of ["null", "[1]", '"a\\nb"', "3"]) {
      assert.deepEqual(parse(`{"metadata":${other},"weight_map":{}}`).metadata, {});
    }
  });

  it("passes over other members", () => {
    const index = parse('{"x":{"weight_map":{"a":"/"}},"weight_map":{"a":"m"},"y":[1,"\\n"]}');
    assert.deepEqual([...index.weightMap], [["a", "m"]]);
  });

  it("may name anything, also what is dangerous in plain objects", () => {
    const index = parse('{"weight_map":{"__proto__":"a","constructor":"b","\\u0000":"a","":"b"}}');
    assert.deepEqual(
      [...index.weightMap],
      [
        ["__proto__", "a"],
        ["constructor", "b"],
        ["\0", "a"],
        ["", "b"],
      ],
    );
    assert.deepEqual(index.files, ["a", "b"]);
  });

  for (const [json, message] of [
    ["", /expected the index to be an object/],
    ["[]", /expected the index to be an object/],
    ["{}", /it has no "weight_map"/],
    ['{"weight_map":[]}', /expected the weight_map to be an object/],
    ['{"weight_map":{"a":1}}', /the file of tensor "a" to be a string/],
    ['{"weight_map":{"a":null}}', /the file of tensor "a" to be a string/],
    ['{"weight_map":{"a":"f","\\u0061":"g"}}', /tensor "a" appears twice/],
    ['{"weight_map":{},"weight_map":{}}', /"weight_map" appears twice/],
    ['{"metadata":{},"weight_map":{},"metadata":{}}', /"metadata" appears twice/],
    ['{"weight_map":{}} x', /nothing but white space after the index/],
    ['{"weight_map":{},}', /a key in double quotes/],
    ['{"weight_map":{"a\n":"f"}}', /no control character/],
    ['{"metadata":{"a":01},"weight_map":{}}', /a number/],
    [`{"metadata":${"[".repeat(200)}`, /127 levels/],
    ["<html>", /expected the index to be an object/],
  ] as const) {
    it(`refuses ${JSON.stringify(json.slice(0, 60))}`, () => {
      assert.throws(() => parse(json), raises("INVALID_INDEX", message));
    });
  }

  it("tells apart names of files that follow each other", () => {
    // The bytes of the second are the code units of the first.
    const names = ["\u00c3\u00a9", "\u00e9", "\u00c3\u00a9", "x", "x", "xy", "y", "x", "\u00e9", "\u00e9"];
    const entries = names.map((name, i) => `"${i}":"${i % 3 === 2 ? escaped(name) : name}"`);
    const { weightMap, files } = parse(`{"weight_map":{${entries.join()}}}`);
    assert.deepEqual([...weightMap.values()], names);
    assert.deepEqual(files, ["x", "xy", "y", "\u00c3\u00a9", "\u00e9"]);
  });

  it("checks every name of a file, also after a good one", () => {
    const json = '{"weight_map":{"a":"f","b":"f","c":"","d":"f"}}';
    assert.throws(() => parse(json), raises("UNSAFE_FILE_NAME", /""/));
    assert.throws(() => parse('{"weight_map":{"a":""}}'), raises("UNSAFE_FILE_NAME", /""/));
  });

  it("refuses what is not UTF-8, wherever it stands", () => {
    for (const json of ['{"weight_map":{"\xff":"a"}}', '{"metadata":{"a":"\xff"},"weight_map":{}}']) {
      assert.throws(() => parse(Buffer.from(json, "latin1")), raises("INVALID_INDEX", /UTF-8/));
    }
  });

  it("refuses file names that could lead out of the folder, naming them", () => {
    const bad = [
      ...[
        "",
        ".",
        "..",
        "/etc/passwd",
        "../model.safetensors",
        "a/b",
        "a/../b",
        "./a",
        "a/",
        "..\\a",
        "a\\b",
        "\\\\x\\y",
      ],
      ...["C:a", "c:\\a", "C:/a", "a:b", "file:///a", "a\0b", "\0", "a\nb", "a\u001f", "a\u007f"],
    ];
    for (const name of bad) {
      const expected = raises("UNSAFE_FILE_NAME", /only the bare name of a file/, { file: name });
      assert.throws(() => checkShardFileName(name), expected, JSON.stringify(name));
      assert.throws(() => parse(JSON.stringify({ weight_map: { good: "a", bad: name } })), expected);
    }
    for (const name of [
      "a",
      "...",
      "..a",
      "a..",
      "-",
      "~",
      "model-00001-of-00001.safetensors",
      "é😀",
      "a b",
      "%2e%2e%2fa",
    ]) {
      checkShardFileName(name);
      assert.deepEqual(parse(JSON.stringify({ weight_map: { a: name } })).files, [name]);
    }
  });

  it("allows 10,000 files", () => {
    const index = (count: number) =>
      JSON.stringify({
        weight_map: Object.fromEntries(Array.from({ length: count }, (_, i) => [`t${i}`, `f${i}`])),
      });
    assert.equal(parse(index(10_000)).files.length, 10_000);
    const expected = raises("LIMIT_EXCEEDED", /more than 10000 files/, { limit: "MAX_SHARDS" });
    assert.throws(() => parse(index(10_001)), expected);
  });
});

describe("checkNumbering", () => {
  const set = (prefix: string, numbers: readonly number[], of: number): string[] =>
    numbers.map(
      (n) => `${prefix}-${String(n).padStart(5, "0")}-of-${String(of).padStart(5, "0")}.safetensors`,
    );

  it("accepts whole sets, files without numbers, and both side by side", () => {
    checkNumbering([]);
    checkNumbering(["model.safetensors"]);
    checkNumbering(["a.safetensors", "b.safetensors"]);
    checkNumbering(set("model", [1, 2, 3], 3));
    checkNumbering(["model-000001-of-000002.bin", "model-000002-of-000002.bin"]);
    checkNumbering([...set("language", [1, 2], 2), ...set("vision", [1, 2, 3], 3)]);
    // Quantised checkpoints keep what they leave alone in such a file, named in the index.
    checkNumbering([...set("model", [1, 2], 2), "model_extra_tensors.safetensors"]);
    checkNumbering(["model-1-of-9.safetensors", "model-00001-of-00009", "00001-of-00009.safetensors"]);
  });

  it("refuses sets with too few or too many files", () => {
    for (const files of [set("model", [1, 2], 3), set("model", [1, 2, 3], 2), set("model", [1], 2)]) {
      const expected = raises(
        "INDEX_MISMATCH",
        new RegExp(`there are ${files.length} files .*their names say \\d`),
      );
      assert.throws(() => checkNumbering(files), expected);
    }
    const mixed = [...set("model", [1, 2], 2), ...set("model", [1], 3)];
    assert.throws(
      () => checkNumbering(mixed),
      raises("INDEX_MISMATCH", /1 files "model-\*-of-00003\.safetensors".* 3/),
    );
    const json = JSON.stringify({ weight_map: { a: set("m", [1], 2)[0] } });
    assert.throws(() => parse(json), raises("INDEX_MISMATCH"));
  });
});
