import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DTYPE_ORDER, DTYPES, type Dtype } from "../../src/dtype/dtype.ts";
import { readCanonicalHeader } from "../../src/format/canonical-header.ts";
import { encodeHeader, type TensorSpec } from "../../src/format/encode.ts";
import { type Header, readHeaderLength, type TensorInfo } from "../../src/format/header.ts";
import { HeaderScanner } from "../../src/format/header-scanner.ts";
import { NameHasher } from "../../src/format/name-hash.ts";
import { finishHeader, parseHeader } from "../../src/format/parse-header.ts";
import { MAX_HEADER_BYTES } from "../../src/limits.ts";
import { fileAround, numbers, raises } from "../support.ts";

const utf8 = new TextEncoder();
const sizeOf = ({ dtype, shape }: TensorSpec): number =>
  shape.reduce((product, size) => product * size, DTYPES[dtype].bits) / 8;

/** Reads a header in all ways, with and without the fast paths, and checks that they agree. */
function parse(json: Uint8Array, dataLength: number): Header {
  const header = finishHeader(new HeaderScanner(json, "strict", false), dataLength);
  for (const fast of [parseHeader(json, dataLength), readCanonicalHeader(json, dataLength)]) {
    if (!fast) continue;
    assert.deepEqual([...fast], [...header]);
    assert.deepEqual([...fast.metadata], [...header.metadata]);
  }
  return header;
}

/** Reads a whole file: length, header, and the length of the data. */
function parseFile(file: Uint8Array, dataLength = 0): Header {
  const length = readHeaderLength(file.subarray(0, 8), file.length + dataLength);
  return parse(file.subarray(8, 8 + length), file.length - 8 - length + dataLength);
}

/** Any text, with a taste for what is special in names, JSON and UTF-8. */
const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 12 }),
  fc.string({
    unit: fc.constantFrom(...'"\\/\0\n\u007fé€😀\u2028\u2029\ufeff\u202e\uffff{}:,[]a'),
    maxLength: 8,
  }),
  fc.constantFrom(
    "",
    "__proto__",
    "constructor",
    "__metadata",
    "__metadata__ ",
    "toString",
    "dtype",
    "shape",
  ),
);
const name = text.filter((text) => text !== "__metadata__");
const spec = fc
  .record({
    dtype: fc.constantFrom<Dtype>(...DTYPE_ORDER),
    shape: fc.array(fc.nat(4), { maxLength: 4 }),
  })
  .map(({ dtype, shape }): TensorSpec => {
    // Elements of less than a byte come in fours, which always end on a whole byte.
    return { dtype, shape: DTYPES[dtype].bits < 8 ? [...shape, 4] : shape };
  });
const tensors = fc.uniqueArray(fc.tuple(name, spec), { selector: ([name]) => name, maxLength: 8 });
const metadata = fc.uniqueArray(fc.tuple(text, text), { selector: ([key]) => key, maxLength: 4 });

/** Writes a header as oddly as JSON allows: order, white space, escapes and unknown fields are drawn from `next`. */
class OddWriter {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = numbers(seed);
  }

  space(): string {
    return ["", "", "", " ", "\n", "\t\r ", "  "][this.#next() % 7]!;
  }

  shuffled<T>(items: readonly T[]): T[] {
    return items
      .map((item) => [this.#next(), item] as const)
      .sort(([a], [b]) => a - b)
      .map(([, item]) => item);
  }

  join(open: string, items: readonly string[], close: string): string {
    const inner = items.map((item) => `${this.space()}${item}${this.space()}`).join();
    return `${open}${inner || this.space()}${close}`;
  }

  member(key: string, value: string): string {
    return `${this.string(key)}${this.space()}:${this.space()}${value}`;
  }

  string(text: string): string {
    const plain = this.#next() % 2 === 0;
    const characters = [...text].map((character) => {
      if (plain || this.#next() % 2 === 0) return JSON.stringify(character).slice(1, -1);
      if (character === "/") return "\\/";
      const units = Array.from(character, (_, i) => character.charCodeAt(i));
      if (character.length === 2) units.splice(0, 2, character.charCodeAt(0), character.charCodeAt(1));
      const hex = units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
      return this.#next() % 2 === 0 ? hex : hex.toUpperCase().replaceAll("\\U", "\\u");
    });
    return `"${characters.join("")}"`;
  }

  header(tensors: readonly TensorInfo[], metadata: readonly (readonly [string, string])[]): string {
    const entries = tensors.map(({ name, dtype, shape, dataOffsets }) => {
      const fields = [
        this.member("dtype", this.string(dtype)),
        this.member("shape", this.join("[", shape.map(String), "]")),
        this.member("data_offsets", this.join("[", dataOffsets.map(String), "]")),
      ];
      if (this.#next() % 4 === 0) fields.push(this.member("other", '[{"dtype":[1.5e-3,"}"]},null]'));
      return this.member(name, this.join("{", this.shuffled(fields), "}"));
    });
    if (metadata.length > 0) {
      const members = metadata.map(([key, value]) => this.member(key, this.string(value)));
      entries.push(this.member("__metadata__", this.join("{", members, "}")));
    }
    return this.space() + this.join("{", this.shuffled(entries), "}") + this.space();
  }
}

describe("parseHeader", () => {
  it("reads any header, however it is written", () => {
    const property = fc.property(tensors, metadata, fc.integer(), (tensors, metadata, seed) => {
      let offset = 0;
      const placed = tensors.map(([name, { dtype, shape }]): TensorInfo => {
        const begin = offset;
        offset += sizeOf({ dtype, shape });
        return { name, dtype, shape, dataOffsets: [begin, offset] };
      });
      const json = utf8.encode(new OddWriter(seed).header(placed, metadata));
      const header = parse(json, offset);
      // Tensors without bytes share their place with a neighbour: their order is that of the JSON.
      const key = ({ name }: TensorInfo): string => name;
      const sorted = (list: Iterable<TensorInfo>): TensorInfo[] =>
        [...list].sort((a, b) => (key(a) < key(b) ? -1 : 1));
      assert.deepEqual(sorted(header), sorted(placed));
      const starts = Array.from(header, ({ dataOffsets }) => dataOffsets[0]);
      assert.deepEqual(
        starts,
        starts.toSorted((a, b) => a - b),
      );
      for (const tensor of placed) assert.deepEqual(header.find(tensor.name), tensor);
      assert.deepEqual(new Map(header.metadata), new Map(metadata));
      assert.equal(header.byteLength, 8 + json.length);
      assert.equal(header.size, placed.length);
    });
    fc.assert(property, { seed: 42, numRuns: 250 });
  });

  it("reads what encodeHeader writes, which is aligned and in canonical order", () => {
    const property = fc.property(tensors, metadata, (tensors, metadata) => {
      const encoded = encodeHeader(tensors, { metadata: new Map(metadata) });
      const header = parseFile(encoded.bytes, encoded.dataLength);
      assert.deepEqual([...header], encoded.tensors);
      assert.deepEqual(new Map(header.metadata), new Map(metadata));
      assert.equal(header.byteLength, encoded.bytes.length);
      assert.equal(header.byteLength % 8, 0);
      for (const [name, { dtype, shape }] of tensors) {
        const found = header.find(name);
        assert.deepEqual([found?.name, found?.dtype, found?.shape], [name, dtype, shape]);
        const start = header.byteLength + found!.dataOffsets[0];
        assert.equal(start % Math.max(DTYPES[dtype].bits / 8, 1), 0, `${dtype} at byte ${start}`);
      }
      // The same tensors in any order, or read back, give the same bytes.
      const again = [...header].reverse().map((tensor) => [tensor.name, tensor] as const);
      const reversed = new Map([...header.metadata].reverse());
      assert.deepEqual(encodeHeader(again, { metadata: reversed }).bytes, encoded.bytes);
    });
    fc.assert(property, { seed: 43, numRuns: 250 });
  });

  it("does not depend on where its bytes lie", () => {
    const { bytes } = encodeHeader([["é", { dtype: "F64", shape: [0] }]]);
    for (let shift = 0; shift < 8; shift++) {
      const memory = new Uint8Array(bytes.length + 64).fill(0x22);
      memory.set(bytes, shift);
      assert.deepEqual([...parseFile(memory.subarray(shift, shift + bytes.length))], [...parseFile(bytes)]);
    }
  });

  it("leaves the bytes alone", () => {
    const json = utf8.encode('{"\\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}');
    const before = json.slice();
    [...parse(json, 0)];
    assert.deepEqual(json, before);
  });
});

describe("the names of a header", () => {
  const entry = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}';
  const headerOf = (names: readonly string[]): Header =>
    parse(utf8.encode(`{${names.map((name) => `${JSON.stringify(name)}:${entry}`).join()}}`), 0);

  it("are found exactly, among 100,000", () => {
    const names = Array.from(
      { length: 100_000 },
      (_, i) => `model.layers.${i % 100}.experts.${(i / 100) | 0}.w`,
    );
    const json = utf8.encode(`{${names.map((name) => `"${name}":${entry}`).join()}}`);
    const started = performance.now();
    const header = parseHeader(json, 0);
    assert.ok(performance.now() - started < 5000, "it takes a twentieth of a second on an idle machine");
    assert.equal(header.size, names.length);
    assert.deepEqual([...header.names()], names);
    for (const name of names) if (header.find(name)?.name !== name) assert.fail(name);
    for (const name of names.slice(0, 5000)) {
      assert.equal(header.find(`${name}x`), undefined);
      assert.equal(header.find(name.slice(1)), undefined);
      assert.equal(header.find(name.replace("w", "v")), undefined);
    }
  });

  it("are told apart by a single byte at any place, at any length", () => {
    for (const length of [1, 2, 3, 4, 5, 7, 8, 9, 13]) {
      const names = new Set(["x".repeat(length), "x".repeat(length - 1), "x".repeat(length + 1)]);
      for (let at = 0; at < length; at++) {
        for (const other of "y\0 X\u007f!")
          names.add(`${"x".repeat(at)}${other}${"x".repeat(length - at - 1)}`);
      }
      const all = [...names];
      for (const left of all)
        assert.equal(headerOf(all.filter((name) => name !== left)).find(left), undefined);
      const header = headerOf(all);
      for (const name of all) assert.equal(header.find(name)?.name, name);
    }
  });

  /** As many names as there are ways to put `a` or `b` at each of `blocks` places. */
  const combinations = (blocks: number, a: string, b: string): string[] =>
    Array.from({ length: 2 ** blocks }, (_, i) =>
      Array.from({ length: blocks }, (_, place) => ((i >> place) & 1 ? b : a)).join(""),
    );
  it("are told apart where their hashes are the same", () => {
    // Names like these have the same hash for half of all seeds, or did once.
    const names = [...combinations(9, "xxxaxaxa", "xxxAx!xA"), "a", "a   ", "a\0\0\0", "a\0"];
    for (let i = 0; i < 100; i++) names.push("\0".repeat(i), " ".repeat(i + 1));
    names.shift();
    const header = headerOf([...new Set(names)]);
    for (const name of names) assert.equal(header.find(name)?.name, name);
    assert.equal(header.find("xxxaxaxa".repeat(9)), undefined);
  });

  it("may be anything that UTF-8 can hold", () => {
    const odd = [
      "",
      "__proto__",
      "constructor",
      "hasOwnProperty",
      "\0",
      "a\0b",
      "\ufeff",
      "\ufeffa",
      "\ufffd",
    ];
    const more = [
      "\u2028",
      "\u2029",
      "\u202e",
      "\u007f",
      "\u0085",
      "é",
      "e\u0301",
      "😀",
      "\u{10ffff}",
      "\ue000",
      "/",
    ];
    const names = [...odd, ...more, "__METADATA__", "__metadata___", "_metadata__", "x".repeat(100_000)];
    const header = headerOf(names);
    assert.deepEqual([...header.names()], names);
    for (const name of names) assert.equal(header.find(name)?.name, name);
    for (const absent of [
      "a",
      "\u0301",
      "__metadata__",
      "toString",
      "\ud83d",
      "\ude00",
      "\ud800",
      "X",
      "  ",
    ]) {
      assert.equal(header.find(absent), undefined, JSON.stringify(absent));
    }
  });

  it("with lone surrogates are not taken for names with U+FFFD", () => {
    assert.equal(headerOf(["\ufffd"]).find("\ud800"), undefined);
    assert.equal(headerOf(["a\ufffd"]).find("a\udfff"), undefined);
  });

  it("are the same with and without escapes", () => {
    const header = parse(utf8.encode(`{"\\u0061\\/\\ud83d\\ude00":${entry}}`), 0);
    assert.equal(header.find("a/😀")?.name, "a/😀");
    const both = utf8.encode(`{"a/😀":${entry},"\\u0061\\/\\ud83d\\ude00":${entry}}`);
    assert.throws(
      () => parseHeader(both, 0),
      raises("DUPLICATE_NAME", /"a\/😀"/, { at: 59, tensor: "a/😀" }),
    );
  });

  it("cannot be made up so that their hashes collide, whatever the secret of the process is", () => {
    // Differences that two steps of a multiplicative hash can cancel: in the top bit always, below it for half of all
    // seeds.
    for (const [blocks, a, b] of [
      [11, "xxxBxxaa", "xxx\xc2xx`\xe1"],
      [13, "xxxaxaxa", "xxxAx!xA"],
    ] as const) {
      const hashes = combinations(blocks, a, b).map((name) => {
        const bytes = Buffer.from(name, "latin1");
        return new NameHasher(bytes).hash(0, bytes.length);
      });
      assert.ok(new Set(hashes).size > hashes.length * 0.99);
    }
  });
});

describe("readHeaderLength", () => {
  const prefix = (length: bigint): Uint8Array => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, length, true);
    return bytes;
  };
  const max = BigInt(MAX_HEADER_BYTES);

  it("is 100,000,000 at most, as in the reference", () => {
    assert.equal(MAX_HEADER_BYTES, 100_000_000);
    assert.equal(readHeaderLength(prefix(max), MAX_HEADER_BYTES + 8), MAX_HEADER_BYTES);
    for (const length of [max + 1n, 2n ** 32n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
      for (const fileSize of [8, MAX_HEADER_BYTES + 8, Number.MAX_SAFE_INTEGER]) {
        const expected = raises("HEADER_TOO_LARGE", /at most 100000000/, { limit: "MAX_HEADER_BYTES" });
        assert.throws(() => readHeaderLength(prefix(length), fileSize), expected);
      }
    }
    assert.throws(() => readHeaderLength(prefix(max + 1n), 2e8), /100000001 bytes/);
  });

  it("must fit into the file, to the byte", () => {
    assert.equal(readHeaderLength(prefix(2n), 10), 2);
    assert.equal(readHeaderLength(prefix(0n), 8), 0);
    const expected = raises("INVALID_HEADER_LENGTH", /3 bytes .* only 2 /);
    assert.throws(() => readHeaderLength(prefix(3n), 10), expected);
    assert.throws(() => readHeaderLength(prefix(max), MAX_HEADER_BYTES + 7), raises("INVALID_HEADER_LENGTH"));
  });

  it("needs eight bytes", () => {
    for (let size = 0; size < 8; size++) {
      const bytes = new Uint8Array(size);
      assert.throws(
        () => readHeaderLength(bytes, size),
        raises("HEADER_TOO_SMALL", new RegExp(`of ${size} bytes`)),
      );
    }
    assert.throws(() => readHeaderLength(new Uint8Array(7), 100), raises("HEADER_TOO_SMALL"));
    assert.throws(() => readHeaderLength(new Uint8Array(8), 7), raises("HEADER_TOO_SMALL"));
  });

  it("reads little-endian numbers at any place in memory, and nothing behind them", () => {
    const memory = new Uint8Array(20).fill(0xff);
    memory.set(prefix(0x010203n), 5);
    assert.equal(readHeaderLength(memory.subarray(5), 2 ** 20), 0x010203);
    assert.equal(readHeaderLength(fileAround("{}"), 10), 2);
  });
});
