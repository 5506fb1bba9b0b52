import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DTYPE_ORDER } from "../../src/dtype/dtype.ts";
import { SafetensorsError } from "../../src/errors.ts";
import { MAX_SHARDS } from "../../src/limits.ts";
import { encodeManifest, type Manifest, parseManifest } from "../../src/manifest/manifest.ts";
import { numbers, raises } from "../support.ts";

const DIGEST = "0123456789abcdef".repeat(4);

const parse = (text: string): Manifest => parseManifest(new TextEncoder().encode(text));

const TENSOR = `{"dtype":"F32","shape":[2,3],"sha256":"${DIGEST}"}`;

/** A manifest with other text in one place. */
const manifestWith = (
  members: Partial<Record<"format" | "version" | "files" | "tensors", string>>,
): string => {
  const all = { format: '"safetensors-manifest"', version: "1", files: "{}", tensors: "{}", ...members };
  return `{${Object.entries(all)
    .map(([key, value]) => `"${key}":${value}`)
    .join(",")}}`;
};

describe("encodeManifest", () => {
  it("writes what its description shows, sorted by code points", () => {
    const manifest: Manifest = {
      files: new Map([["model.safetensors", { size: 120, sha256: DIGEST }]]),
      tensors: new Map([
        ["😀", { dtype: "U8", shape: [], sha256: DIGEST }],
        ["\ue000", { dtype: "U8", shape: [0], sha256: DIGEST }],
        ['a"\n', { dtype: "F32", shape: [2, 3], sha256: DIGEST }],
      ]),
    };
    const lines = [
      "{",
      '  "format": "safetensors-manifest",',
      '  "version": 1,',
      '  "files": {',
      `    "model.safetensors": {"size": 120, "sha256": "${DIGEST}"}`,
      "  },",
      '  "tensors": {',
      `    "a\\"\\n": {"dtype": "F32", "shape": [2, 3], "sha256": "${DIGEST}"},`,
      `    "\ue000": {"dtype": "U8", "shape": [0], "sha256": "${DIGEST}"},`,
      `    "😀": {"dtype": "U8", "shape": [], "sha256": "${DIGEST}"}`,
      "  }",
      "}",
      "",
    ];
    assert.equal(new TextDecoder().decode(encodeManifest(manifest)), lines.join("\n"));
    const nothing = encodeManifest({ files: new Map(), tensors: new Map() });
    assert.match(new TextDecoder().decode(nothing), /"files": \{\},\n {2}"tensors": \{\}\n\}\n$/);
  });

  it("gives the same bytes in whatever order, and is read back", () => {
    const names = fc.string({ unit: "grapheme" });
    const tensors = fc.dictionary(
      names,
      fc.record(
        {
          dtype: fc.constantFrom(...DTYPE_ORDER),
          shape: fc.array(fc.maxSafeNat(), { maxLength: 4 }),
          sha256: fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: 64, maxLength: 64 }),
        },
        { noNullPrototype: true },
      ),
    );
    fc.assert(
      fc.property(tensors, fc.maxSafeNat(), (entries, size) => {
        const files = new Map([["a.safetensors", { size, sha256: DIGEST }]]);
        const manifest = { files, tensors: new Map(Object.entries(entries)) };
        const bytes = encodeManifest(manifest);
        const read = parseManifest(bytes);
        assert.deepEqual(read.files, files);
        assert.deepEqual(new Map([...read.tensors].sort()), new Map([...manifest.tensors].sort()));
        const reversed = { files, tensors: new Map([...manifest.tensors].reverse()) };
        assert.deepEqual(encodeManifest(reversed), bytes);
      }),
      { seed: 42, numRuns: 100 },
    );
  });
});

describe("parseManifest", () => {
  it("takes members in any order, and names that are dangerous in plain objects", () => {
    const text = `{"tensors":{"__proto__":${TENSOR},"constructor":${TENSOR},"":${TENSOR}},"version":1,"files":{},"format":"safetensors-manifest"}`;
    assert.deepEqual([...parse(text).tensors.keys()], ["__proto__", "constructor", ""]);
    const swapped = `{"a":{"sha256":"${DIGEST}","shape":[],"dtype":"U8"}}`;
    assert.deepEqual(parse(manifestWith({ tensors: swapped })).tensors.get("a"), {
      dtype: "U8",
      shape: [],
      sha256: DIGEST,
    });
  });

  const refused: readonly (readonly [name: string, text: string, message: RegExp])[] = [
    ["nothing", "", /an object/],
    ["a list", "[]", /an object/],
    ["text after the end", `${manifestWith({})} 1`, /nothing but white space/],
    ["another format", manifestWith({ format: '"other"' }), /format is not/],
    ["no format", '{"version":1,"files":{},"tensors":{}}', /the manifest has no "format"/],
    ["no tensors", '{"format":"safetensors-manifest","version":1,"files":{}}', /has no "tensors"/],
    ["an unknown member", manifestWith({}).replace("{", '{"x":1,'), /"x" is unknown in the manifest/],
    [
      "a member twice",
      manifestWith({}).replace("{", '{"files":{},'),
      /"files" appears twice in the manifest/,
    ],
    [
      "a tensor twice",
      manifestWith({ tensors: `{"a":${TENSOR},"\\u0061":${TENSOR}}` }),
      /"a" appears twice in "tensors"/,
    ],
    ["a version as text", manifestWith({ version: '"1"' }), /whole number/],
    [
      "a tensor without shape",
      manifestWith({ tensors: `{"a":{"dtype":"U8","sha256":"${DIGEST}"}}` }),
      /has no "shape"/,
    ],
    [
      "a tensor with more",
      manifestWith({ tensors: `{"a":${TENSOR.replace("{", '{"__proto__":1,')}}` }),
      /"__proto__" is unknown/,
    ],
    [
      "an unknown dtype",
      manifestWith({ tensors: `{"a":${TENSOR.replace("F32", "F33")}}` }),
      /unknown dtype "F33"/,
    ],
    [
      "a negative dimension",
      manifestWith({ tensors: `{"a":${TENSOR.replace("2,3", "-1")}}` }),
      /whole number/,
    ],
    [
      "a dimension of 2^53",
      manifestWith({ tensors: `{"a":${TENSOR.replace("2,3", "9007199254740992")}}` }),
      /above 2\^53/,
    ],
    [
      "a short digest",
      manifestWith({ tensors: `{"a":${TENSOR.replace(DIGEST, DIGEST.slice(1))}}` }),
      /64 lower-case/,
    ],
    [
      "an upper-case digest",
      manifestWith({ tensors: `{"a":${TENSOR.replace(DIGEST, DIGEST.toUpperCase())}}` }),
      /64 lower-case/,
    ],
    [
      "a digest that goes on",
      manifestWith({ tensors: `{"a":${TENSOR.replace(DIGEST, `${DIGEST}\\n`)}}` }),
      /64 lower-case/,
    ],
    [
      "a size that is none",
      manifestWith({ files: `{"a":{"size":1.5,"sha256":"${DIGEST}"}}` }),
      /whole number/,
    ],
  ];
  for (const [name, text, message] of refused) {
    it(`refuses ${name}`, () => {
      assert.throws(() => parse(text), raises("INVALID_MANIFEST", message));
    });
  }

  it("refuses what is dangerous, and what it cannot know", () => {
    const file = `{"size":1,"sha256":"${DIGEST}"}`;
    for (const name of ["../a", "/etc/passwd", "a\\\\b", "", "..", "c:x", "a\\u001b"]) {
      const text = manifestWith({ files: `{"${name}":${file}}` });
      assert.throws(() => parse(text), raises("UNSAFE_FILE_NAME"), name);
    }
    assert.throws(() => parse(manifestWith({ version: "2" })), raises("UNSUPPORTED", /version 2/));
    const many = Array.from({ length: MAX_SHARDS + 1 }, (_, i) => `"${i}":${file}`).join(",");
    assert.throws(() => parse(manifestWith({ files: `{${many}}` })), raises("LIMIT_EXCEEDED", /files/));
    const invalid = new TextEncoder().encode(manifestWith({ tensors: `{"?":${TENSOR}}` }));
    invalid[invalid.indexOf("?".charCodeAt(0))] = 0xff;
    assert.throws(() => parseManifest(invalid), raises("INVALID_MANIFEST", /UTF-8/));
  });

  it("gives an error of its own or a manifest for whatever is changed in one", () => {
    const files = new Map([["m.safetensors", { size: 7, sha256: DIGEST }]]);
    const tensor = { dtype: "F32", shape: [2, 3], sha256: DIGEST } as const;
    const good = encodeManifest({
      files,
      tensors: new Map([
        ["a", tensor],
        ["b", tensor],
      ]),
    });
    const tokens = [
      '"',
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      "0",
      "-1",
      "1e9",
      "null",
      "\\",
      "\\u0000",
      '"a":',
      "\n",
      "\xff",
    ];
    const next = numbers(42);
    let refusals = 0;
    for (let run = 0; run < 2000; run++) {
      const bytes = [...good];
      for (let i = 0; i <= next() % 3; i++) {
        const token = [...Buffer.from(tokens[next() % tokens.length]!, "latin1")];
        bytes.splice(next() % bytes.length, next() % 4, ...(next() % 3 ? token : [next() & 0xff]));
      }
      try {
        const read = parseManifest(Uint8Array.from(bytes));
        for (const { sha256 } of [...read.tensors.values(), ...read.files.values()])
          assert.match(sha256, /^[0-9a-f]{64}$/);
      } catch (error) {
        assert.ok(error instanceof SafetensorsError, String(error));
        refusals++;
      }
    }
    assert.ok(refusals > 1200 && refusals < 2000, String(refusals));
  });
});
