import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { scan } from "../../../src/torch/scan/index.ts";
import { fixture } from "../../fixtures.ts";
import { headerText, npyAround } from "../../numpy/npy-file.ts";
import { concat, handMade, noise } from "../../support.ts";
import { buildZip, type Member, sparseZip } from "../../zip/zip-builder.ts";
import { assemble, uint } from "../pickle/assembler.ts";
import { call, push, tensor, torchFile } from "../torch-file.ts";
import { checkRow, type Row, scanned } from "./scanned.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const EVIL = assemble("PROTO", 2, call("os.system", "id"), "STOP");
const EVIL_TEXT = utf8("cos\nsystem\n(S'id'\ntR.");
const GOOD = assemble("PROTO", 2, tensor(), "STOP");
const HONEST = torchFile({ "data.pkl": GOOD, "data/0": new Uint8Array(48) });
const zip = (...members: (readonly [string, Uint8Array])[]): Uint8Array =>
  buildZip(members.map(([name, data]) => ({ name, data })));
/** Without a checksum, as the builder knows only that of what it stores. */
const deflated = (name: string, data: Uint8Array): Member => {
  const packed = deflateRawSync(data);
  return { name, data: packed, method: 8, size: data.length, compressedSize: packed.length };
};
const zipWithoutCrc = (...members: Member[]): Uint8Array => {
  const bytes = buildZip(members);
  for (let at = 0; at < bytes.length; at++) {
    const signature = String.fromCharCode(...bytes.subarray(at, at + 4));
    if (signature === "PK\x03\x04") bytes.fill(0, at + 14, at + 18);
    if (signature === "PK\x01\x02") bytes.fill(0, at + 16, at + 20);
  }
  return bytes;
};
const storage = new Uint8Array(48);
const LONG_LINE = utf8(`V${"x".repeat(20_000)}\n`);
const withStorage = (data: Uint8Array): Uint8Array =>
  torchFile({ "data.pkl": GOOD, "data/0": storage, "data/1": data });

/** Storages that begin as pickles do, and name nothing. */
const HARMLESS = {
  "text that begins as a pickle does": utf8("cat food\nand more\n"),
  "a pickle without names": push({ a: [1, "os", "system"] }),
  "packed numbers that are opcodes": new Uint8Array(100_000).fill(0x88),
  "ones in bfloat16": Uint8Array.from({ length: 400 }, (_, index) => (index % 2 ? 0x3f : 0x80)),
  "the byte of FRAME": uint(8, 149),
  "bytes for 300 kB and nothing behind them": concat([
    assemble("BINBYTES", uint(4, 300_000), noise(300_000)),
    storage,
  ]),
  "the start of a line without an end": utf8("I1234567"),
};

/** Literals for 300 kB, then a call. */
const LATE = concat([assemble("BINBYTES", uint(4, 300_000), noise(300_000)), LONG_LINE, EVIL_TEXT]);
const EMPTY_BLOCK = Uint8Array.of(0, 0, 0, 0xff, 0xff);
const CALLING_ARRAY = npyAround(headerText({ descr: "'|O'", shape: "(1,)" }), EVIL);
/** A file with a storage that is compressed so, without checksums. */
const withPacked = (data: Uint8Array): Uint8Array =>
  zipWithoutCrc(deflated("m/data.pkl", GOOD), deflated("m/data/0", storage), {
    name: "m/data/1",
    data,
    method: 8,
    size: 0,
    compressedSize: data.length,
  });

const ARCHIVES: readonly Row[] = [
  ["an honest file", HONEST, "clean"],
  [
    "a pickle of another name",
    torchFile({ "data.pkl": GOOD, "data/0": storage, "extra.bin": EVIL }),
    "dangerous",
  ],
  [
    "a pickle of protocol 0 of another name",
    torchFile({ "data.pkl": GOOD, "data/0": storage, extra: EVIL_TEXT }),
    "dangerous",
  ],
  ["a pickle as a storage", withStorage(EVIL), "dangerous", "forbidden-global"],
  ["a pickle of protocol 0 as a storage", withStorage(EVIL_TEXT), "dangerous", "forbidden-global"],
  [
    "a pickle without a protocol as a storage",
    withStorage(EVIL.subarray(2)),
    "dangerous",
    "forbidden-global",
  ],
  [
    "a pickle as a storage that begins with 300 kB of something else",
    withStorage(concat([assemble("BINBYTES", uint(4, 300_000), noise(300_000)), LONG_LINE, EVIL_TEXT])),
    "dangerous",
    "forbidden-global",
  ],
  [
    "a pickle of a name that nobody knows as a storage",
    withStorage(utf8("(icompany\nThing\n.")),
    "incomplete",
    "unknown-global",
  ],
  [
    "a pickle as a storage that Python's reader in C reads in another way",
    withStorage(concat([assemble("FRAME", uint(8, 3)), utf8("c--os\nsystem\n(S'id'\ntR.")])),
    "incomplete",
    "malformed-pickle",
  ],
  [
    "a compressed pickle of protocol 0 as a storage",
    zipWithoutCrc(
      deflated("m/data.pkl", GOOD),
      deflated("m/data/0", storage),
      deflated("m/data/1", concat([utf8("]".repeat(50)), EVIL_TEXT])),
    ),
    "dangerous",
    "forbidden-global",
  ],
  ...(
    [
      [
        "a compressed storage that names something after 300 kB",
        deflateRawSync(LATE),
        "dangerous",
        "forbidden-global",
      ],
      [
        "a compressed storage that is damaged before it tells",
        deflateRawSync(LATE).subarray(0, -300),
        "incomplete",
        "malformed-file",
      ],
      [
        "a compressed storage whose opcodes do not fit their frame",
        deflateRawSync(concat([assemble("FRAME", uint(8, 3)), utf8("c--os\nsystem\n(S'id'\ntR.")])),
        "incomplete",
        "malformed-pickle",
      ],
      [
        "a compressed array of objects behind blocks of nothing",
        concat([...Array.from({ length: 200 }, () => EMPTY_BLOCK), deflateRawSync(CALLING_ARRAY)]),
        "dangerous",
        "forbidden-global",
      ],
    ] as const
  ).map(([what, packed, ...rest]): Row => [what, withPacked(packed), ...rest]),
  ...Object.entries(HARMLESS).map(
    ([what, data]): Row => [`a compressed storage: ${what}`, withPacked(deflateRawSync(data)), "clean"],
  ),
  ...Object.entries(HARMLESS).map(([what, data]): Row => [`a storage: ${what}`, withStorage(data), "clean"]),
  [
    "a storage that begins as a pickle",
    torchFile({ "data.pkl": GOOD, "data/0": storage, "data/1": concat([Uint8Array.of(0x80, 2), noise(46)]) }),
    "clean",
  ],
  [
    "a second pickle after the first",
    torchFile({ "data.pkl": concat([GOOD, EVIL]), "data/0": storage }),
    "dangerous",
    "bytes-after-end",
  ],
  ["a missing storage", torchFile({ "data.pkl": GOOD }), "incomplete", "storage-size"],
  [
    "a short storage",
    torchFile({ "data.pkl": GOOD, "data/0": new Uint8Array(47) }),
    "incomplete",
    "storage-size",
  ],
  [
    "TorchScript",
    torchFile({ "data.pkl": GOOD, "data/0": storage, "code/__torch__.py": "x" }),
    "incomplete",
    "contains-code",
  ],
  [
    "constants",
    torchFile({ "data.pkl": GOOD, "data/0": storage, "constants.pkl": EVIL }),
    "dangerous",
    "contains-code",
  ],
  ...["archive_format", "ARCHIVE_FORMAT", "model.json"].flatMap((name): Row[] => [
    [
      `${name} in a torch archive`,
      torchFile({ "data.pkl": GOOD, "data/0": storage, [name]: "{}" }),
      "incomplete",
      "contains-code",
    ],
    [
      `${name} in another archive`,
      zip(["x/y", storage.slice(0, 1)], [`m/${name}`, utf8("{}")], ["m/.data/VERSION", utf8("3")]),
      "incomplete",
      "contains-code",
    ],
    [`${name} where PyTorch opens nothing`, zip([`m/${name}`, utf8("{}")]), "clean"],
    [
      `${name} beside the version of something else`,
      zip([`m/models/${name}`, utf8("{}")], ["m/version", utf8("1.2.3")]),
      "clean",
    ],
  ]),
  [
    "an exported program of its first format",
    zip(["serialized_exported_program.json", utf8("{}")], ["version", utf8("8.14")]),
    "incomplete",
    "contains-code",
  ],
  ...["bytecode.pkl", "Bytecode.PKL", "CONSTANTS.pkl"].map(
    (name): Row => [
      `a mobile archive with ${name} and no code`,
      torchFile({ "data.pkl": GOOD, "data/0": storage, [name]: assemble("NONE", "STOP") }),
      "incomplete",
      "contains-code",
    ],
  ),
  [
    "a record that only ends as one of code",
    torchFile({ "data.pkl": GOOD, "data/0": storage, my_archive_format: "x", "models/x.jsonl": "{}" }),
    "clean",
  ],
  [
    "a member beside the folder",
    torchFile({ "data.pkl": GOOD, "data/0": storage }, "model", [{ name: "other/x" }]),
    "incomplete",
    "member-outside-root",
  ],
  [
    "names that differ in case",
    torchFile({ "data.pkl": GOOD, "data/0": storage, "DATA.pkl": EVIL }),
    "dangerous",
    "case-variants",
  ],
  [
    "a compressed pickle",
    buildZip([deflated("m/data.pkl", EVIL), { name: "m/version", data: utf8("3") }]),
    "dangerous",
  ],
  [
    "a compressed pickle of another name",
    buildZip([deflated("m/data.pkl", GOOD), deflated("m/data/0", storage), deflated("m/x", EVIL)]),
    "dangerous",
  ],
  [
    "an honest compressed file",
    zipWithoutCrc(deflated("m/data.pkl", GOOD), deflated("m/data/0", storage)),
    "clean",
  ],
  [
    "a compressed size that lies",
    buildZip([{ ...deflated("m/data.pkl", EVIL), size: 5 }]),
    "dangerous",
    "malformed-file",
  ],
  [
    "damaged compressed data",
    buildZip([{ name: "m/data.pkl", data: noise(50), method: 8, size: 70, compressedSize: 50 }]),
    "incomplete",
    "malformed-file",
  ],
  ["an archive in an archive", zip(["model.pt", torchFile({ "data.pkl": EVIL })]), "dangerous"],
  ["archives too deep", nest(6), "incomplete", "limit"],
  ["archives not too deep", nest(3), "dangerous"],
  [
    "an encrypted member",
    buildZip([{ name: "m/data.pkl", data: GOOD, flags: 0x0801 }]),
    "incomplete",
    "not-understood",
  ],
];

function nest(levels: number): Uint8Array {
  return levels === 0 ? EVIL : zip(["inner", nest(levels - 1)]);
}

const evilMember: Member = { name: "m/data.pkl", data: EVIL };
const AMBIGUOUS: readonly Row[] = [
  [
    "bytes before the archive",
    buildZip([evilMember], { before: utf8("MZ something") }),
    "dangerous",
    "archive-after-data",
  ],
  [
    "a member twice",
    buildZip([{ name: "m/data.pkl", data: GOOD }, evilMember]),
    "dangerous",
    "ambiguous-archive",
  ],
  [
    "another name in the local header",
    buildZip([{ ...evilMember, local: { name: "m/data.pkx" } }]),
    "dangerous",
    "ambiguous-archive",
  ],
  [
    "another method in the local header",
    buildZip([{ ...deflated("m/data.pkl", EVIL), local: { method: 0 } }]),
    "dangerous",
    "ambiguous-archive",
  ],
  [
    "a member between the members",
    buildZip([{ ...evilMember, after: concat([utf8("PK\x03\x04"), new Uint8Array(26), EVIL_TEXT]) }]),
    "dangerous",
    "ambiguous-archive",
  ],
  ["two directories", concat([zip(["m/data.pkl", GOOD]), zip(["m/data.pkl", EVIL])]), "dangerous"],
  ["no directory", HONEST.subarray(0, HONEST.length - 60), "incomplete", "ambiguous-archive"],
  [
    "no directory, and danger",
    concat([torchFile({ "data.pkl": EVIL }).subarray(0, -40)]),
    "dangerous",
    "ambiguous-archive",
  ],
  ["a path out of the folder", zip(["../evil", EVIL]), "dangerous", "ambiguous-archive"],
];

const SAFETENSORS = handMade({ a: { dtype: "U8", shape: [4], data: Uint8Array.of(1, 2, 3, 4) } });
const typed = (type: string): string => `{'descr': ${type}, 'fortran_order': False, 'shape': (1,), }\n`;
const npy = (header: string, data: Uint8Array): Uint8Array =>
  concat([Uint8Array.of(0x93), utf8("NUMPY"), Uint8Array.of(1, 0, header.length, 0), utf8(header), data]);
const OBJECTS = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n";
const FLOATS = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n";

const tarHeader = (name: string, size: number, kind = "0"): Uint8Array => {
  const header = new Uint8Array(512);
  const put = (at: number, text: string): void => header.set(utf8(text), at);
  put(0, name);
  put(124, `${size.toString(8).padStart(11, "0")}\0`);
  put(156, kind);
  put(257, "ustar\0");
  put(148, "        ");
  put(
    148,
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, "0")}\0 `,
  );
  return header;
};
const tar = (name: string, data: Uint8Array): Uint8Array =>
  concat([tarHeader(name, data.length), data, new Uint8Array(((512 - (data.length % 512)) % 512) + 1024)]);

const legacy = (object: Uint8Array, ...rest: Uint8Array[]): Uint8Array => {
  const magic = Uint8Array.of(0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19);
  const stacked = [magic, assemble("BININT2", uint(2, 1001)), push({ little_endian: true }), object];
  return concat([...stacked.map((value) => assemble("PROTO", 2, value, "STOP")), ...rest]);
};
const legacyTensor = tensor({
  storage: assemble(
    "MARK",
    push("storage"),
    "GLOBAL",
    "'torch\nFloatStorage\n",
    push("7"),
    push("cpu"),
    push(12),
    "NONE",
    "TUPLE",
    "BINPERSID",
  ),
});
const legacyKeys = assemble("PROTO", 2, push(["7"]), "STOP");
const legacyData = concat([uint(8, 12), new Uint8Array(48)]);

/** A valid safetensors file that pickle.load reads as a pickle: its length is an opcode that skips what is in the way. */
function polyglot(): Uint8Array {
  const jump = 240;
  const json = `{"__metadata__":{"x":"`;
  // U (SHORT_BINSTRING) and a length of `jump`: the header has 0x55 + 256 * jump bytes.
  const length = 0x55 + 256 * jump;
  const hops: number[] = [];
  for (let at = 2 + jump; at < 8 + length - 200; ) {
    hops.push(at);
    at += 2 + 0x7e;
  }
  const header = new Uint8Array(length).fill(0x20);
  header.set(utf8(json));
  header.fill(0x61, json.length, length - 3);
  header.set(utf8('"}}'), length - 3);
  for (const at of hops) header.set(utf8("U~"), at - 8);
  const last = hops.at(-1)! + 128;
  // The last hop leads over the end of the header.
  header.set(utf8("U~"), last - 8);
  const data = concat([new Uint8Array(last + 128 - 8 - length), EVIL_TEXT]);
  return concat([uint(8, length), header, data]);
}

const OTHERS: readonly Row[] = [
  ["safetensors", SAFETENSORS, "clean"],
  ["safetensors whose header is broken", SAFETENSORS.subarray(0, 30), "incomplete", "malformed-file"],
  ["safetensors that is a pickle too", polyglot(), "dangerous", "forbidden-global"],
  [
    "safetensors with an archive at its end",
    concat([SAFETENSORS, zip(["m/data.pkl", EVIL])]),
    "dangerous",
    "archive-after-data",
  ],
  [
    "a pickle with an archive at its end",
    concat([assemble("NONE", "STOP"), zip(["m/data.pkl", EVIL])]),
    "dangerous",
    "archive-after-data",
    "bytes-after-end",
  ],
  ["an array of objects", npy(OBJECTS, EVIL), "dangerous"],
  [
    "an array of objects with more after it",
    npy(OBJECTS, concat([assemble("NONE", "STOP"), Uint8Array.of(0)])),
    "incomplete",
    "bytes-after-end",
  ],
  ["an array of objects that are none", npy(OBJECTS, noise(20)), "incomplete", "malformed-pickle"],
  [
    "an array with a field of objects",
    npy("{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (1,), }\n", EVIL),
    "dangerous",
  ],
  ["an array of a type of two", npy(typed("('|O', '<f8')"), EVIL), "dangerous"],
  ["an array of objects in escapes", npy(typed("'\\x7cO'"), EVIL), "dangerous"],
  ...[
    "'object'",
    "'1O'",
    "'O,'",
    "'i4,O'",
    "'(1,)O'",
    "('1O', (1,))",
    "('1O', [2])",
    "[('a', '1O')]",
    "[('a', 'i4,O')]",
    "[('1O', ('1O', 2))]",
    "[('a', [('b', '1O')])]",
    "[(('t', 'a'), '1O')]",
  ].map((type): Row => [`an array of ${type}`, npy(typed(type), EVIL), "dangerous", "not-understood"]),
  ...[
    ["'<M8[ns]'", 8],
    ["'|b1'", 1],
    ["'|S5'", 5],
    ["'<U2'", 8],
    ["'<m8'", 8],
    ["[('O', '<f4'), ('|O', '<f4')]", 8],
    ["[('Open', '<f4'), ('b', '<i4', (2,))]", 12],
    ["[('', '|V3'), ('n', [('x', '<M8[ns]'), ('y', '?')])]", 12],
    ["[('a', ('<f4', (2,)))]", 8],
  ].map(
    ([type, size]): Row => [
      `an array of ${type}`,
      npy(typed(String(type)), new Uint8Array(Number(size))),
      "clean",
    ],
  ),
  ["an array of numbers", npy(FLOATS, new Uint8Array(8)), "clean"],
  ["an array with too many bytes", npy(FLOATS, new Uint8Array(9)), "incomplete", "malformed-file"],
  [
    "an array in an archive",
    zip(["x.npy", npy(FLOATS, new Uint8Array(8))], ["y.npy", npy(OBJECTS, EVIL)]),
    "dangerous",
  ],
  ["tar", tar("data", EVIL), "dangerous"],
  ["tar with a model", tar("model.pt", HONEST), "clean"],
  ["tar whose first name is a pickle", tar("cos\nsystem\n(S'id'\ntR.", utf8("x")), "dangerous"],
  [
    "tar with a member of an unusual kind",
    concat([tarHeader("a", 0, "S"), new Uint8Array(1024)]),
    "incomplete",
    "not-understood",
  ],
  ["tar that is cut", tar("a", new Uint8Array(2000)).subarray(0, 1024), "incomplete", "malformed-file"],
  [
    "tar with bytes after its end",
    concat([tar("a", utf8("x")), utf8("more")]),
    "incomplete",
    "bytes-after-end",
  ],
  ["gzip", gzipSync(EVIL), "dangerous"],
  ["gzip of an honest file", gzipSync(HONEST), "clean"],
  ["gzip that is cut", gzipSync(HONEST).subarray(0, 100), "incomplete", "compressed"],
  ["zlib of any level", deflateSync(EVIL, { level: 3 }), "dangerous"],
  ["a gzip bomb", gzipSync(new Uint8Array(64 << 20)), "incomplete", "compressed"],
  ["legacy", legacy(legacyTensor, legacyKeys, legacyData), "clean"],
  ["legacy, dangerous", legacy(call("os.system", "id"), legacyKeys), "dangerous"],
  ["legacy with a dangerous list of keys", legacy(legacyTensor, EVIL), "dangerous"],
  [
    "legacy with another count",
    legacy(legacyTensor, legacyKeys, uint(8, 11), new Uint8Array(48)),
    "incomplete",
    "storage-size",
  ],
  [
    "legacy with bytes after it",
    legacy(legacyTensor, legacyKeys, legacyData, EVIL),
    "incomplete",
    "bytes-after-end",
  ],
  ["legacy without storages", legacy(legacyTensor), "incomplete", "malformed-file"],
  [
    "Keras with a function",
    zip([
      "config.json",
      utf8(
        '{"class_name":"Lambda","config":{"function":{"class_name":"__lambda__","config":{"code":"4wAA"}}}}',
      ),
    ]),
    "dangerous",
    "keras-lambda",
  ],
  [
    "Keras with a Lambda layer",
    zip(["config.json", utf8('{"layers":[{"class_name":"Lambda","config":{}}]}')]),
    "incomplete",
    "keras-custom",
  ],
  [
    "Keras with a module",
    zip(["config.json", utf8('{"class_name":"system","module":"os"}')]),
    "dangerous",
    "keras-module",
  ],
  [
    "Keras with a class of its own",
    zip(["config.json", utf8('{"class_name":"Thing","module":"company"}')]),
    "incomplete",
    "keras-custom",
  ],
  [
    "Keras",
    zip(["config.json", utf8('{"class_name":"Sequential","module":"keras","config":{"layers":[]}}')]),
    "clean",
  ],
  [
    "Keras with a function of Python",
    zip(["config.json", utf8('{"class_name":"function","module":"builtins","config":"exec"}')]),
    "dangerous",
    "keras-module",
  ],
  [
    "Keras with a function that downloads",
    zip([
      "config.json",
      utf8('{"class_name":"function","module":"keras.src.utils.file_utils","config":"get_file"}'),
    ]),
    "incomplete",
    "keras-custom",
  ],
  [
    "Keras with an activation",
    zip(["config.json", utf8('{"class_name":"function","module":"builtins","config":"relu"}')]),
    "clean",
  ],
  [
    "Keras with a PyTorch module",
    zip([
      "config.json",
      utf8('{"class_name":"TorchModuleWrapper","module":"keras.layers","config":{"module":""}}'),
    ]),
    "incomplete",
    "keras-custom",
  ],
  ["Keras with escapes", utf8('{"class\\u005fname":"Lambda","config":{}}'), "incomplete", "keras-custom"],
  [
    "Keras whose key lies across two pieces",
    utf8(`{"${" ".repeat(2 ** 20 - 9)}":0,"class_name":"Lambda","config":{}}`),
    "incomplete",
    "keras-custom",
  ],
  ["HDF5 with a Lambda layer", concat([utf8("\x89HDF\r\n\x1a\n").subarray(1), utf8("x")]), "incomplete"],
  ["text", utf8("# A model\n\nSome text.\n"), "clean", "holds-no-code"],
  ["text that begins as a pickle does", utf8("cat food\nand more\n"), "clean", "holds-no-code"],
  [
    "text that goes on as something else",
    concat([utf8("text ".repeat(2000)), noise(50)]),
    "incomplete",
    "not-understood",
  ],
  [
    "a long Keras configuration",
    utf8(`{"a":"${" ".repeat(5000)}","class_name":"Lambda"}`),
    "incomplete",
    "keras-custom",
  ],
  [
    "text with an archive in its end",
    concat([utf8("# text\n"), zip(["m/data.pkl", EVIL]), utf8("\nmore text")]),
    "dangerous",
    "archive-after-data",
  ],
  ["JSON", utf8('{"a": 1}'), "clean", "holds-no-code"],
  ["nothing", new Uint8Array(0), "clean", "holds-no-code"],
  [
    "a pointer of Git LFS",
    utf8("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"),
    "incomplete",
    "not-downloaded",
  ],
  ["a page", utf8("<html><title>404</title></html>"), "incomplete", "not-downloaded"],
  ["GGUF", concat([utf8("GGUF"), uint(4, 3), new Uint8Array(24)]), "incomplete", "not-understood"],
  [
    "7-Zip",
    concat([utf8("7z"), Uint8Array.of(0xbc, 0xaf, 0x27, 0x1c), new Uint8Array(30)]),
    "incomplete",
    "compressed",
  ],
  ["noise", noise(5000), "incomplete", "not-understood"],
  ["noise of 200 kB", noise(200_000, 3), "incomplete", "not-understood"],
];

for (const [title, rows] of Object.entries({ ARCHIVES, AMBIGUOUS, OTHERS })) {
  for (const row of rows) test(`files, ${title.toLowerCase()}: ${row[0]}`, () => checkRow(row));
}

test("HDF5: a Lambda layer is found by its text", async () => {
  const head = Uint8Array.of(0x89, ...utf8("HDF\r\n"), 0x1a, 0x0a);
  const config = (text: string): Uint8Array =>
    concat([head, new Uint8Array(600), utf8(text), new Uint8Array(50)]);
  assert.equal((await scanned(config('{"class_name": "Dense"}'))).verdict, "incomplete");
  const { findings } = await scanned(config('{"class_name": "Lambda"}'));
  assert.deepEqual(
    findings.map(({ code }) => code),
    ["keras-custom", "not-understood"],
  );
  const evil = await scanned(config('{"class_name": "Lambda", "function_type": "lambda"}'));
  assert.equal(evil.verdict, "dangerous");
});

test("a checksum that does not fit, and one that was left out", async () => {
  const file = torchFile({ "data.pkl": GOOD, "data/0": new Uint8Array(48) });
  const damaged = new Uint8Array(file);
  const at = new TextDecoder("latin1").decode(file).indexOf("storage");
  damaged.set(utf8("cpu"), new TextDecoder("latin1").decode(file).indexOf("cpu", at));
  assert.equal((await scanned(damaged)).verdict, "clean");
  damaged.set(utf8("gpu"), new TextDecoder("latin1").decode(file).indexOf("cpu", at));
  const { verdict, findings } = await scanned(damaged);
  assert.equal(verdict, "incomplete");
  assert.deepEqual(
    findings.map(({ code }) => code),
    ["crc-mismatch"],
  );
  assert.equal((await scanned(fixture("torch/no-crc.pt"))).verdict, "clean");
});

test("an archive in a storage is found, wherever the bytes that are read with its header end", async () => {
  const data = zip(["m/data.pkl", EVIL]);
  for (let length = 4; length < 130; length++) {
    const extra = concat([utf8("FB"), uint(2, length - 4), new Uint8Array(length - 4)]);
    const last = { name: "model/data/1", data, local: { extra } };
    const { verdict } = await scanned(torchFile({ "data.pkl": GOOD, "data/0": storage }, "model", [last]));
    assert.equal(verdict, "dangerous", `${length} bytes before the data`);
  }
});

test("a file of 10 GB costs little", async () => {
  const count = 300;
  const bytes = 36 << 20;
  const tensors = Array.from({ length: count }, (_, index) =>
    tensor({ storage: call1(index, bytes / 4), size: [bytes / 4], stride: [1] }),
  );
  const source = sparseZip(
    [
      { name: "m/data.pkl", data: assemble("PROTO", 2, push(tensors), "STOP") },
      { name: "m/version", data: utf8("3\n") },
      ...tensors.map((_, index) => ({ name: `m/data/${index}`, data: bytes })),
    ],
    { zip64: true },
  );
  assert.ok(source.size > 10e9);
  const report = await scan(source);
  assert.equal(report.verdict, "clean");
  assert.ok(report.traffic.bytes < 1e6, `${report.traffic.bytes} bytes`);
  // The head of each storage comes with its header; HDF5 may begin at each power of two.
  const places = Math.ceil(Math.log2(source.size));
  assert.ok(report.traffic.requests < count + places, `${report.traffic.requests} requests`);
});

test("storages of random bytes are told by their heads, and by some kB of a few", async () => {
  const count = 100;
  const storages = Array.from({ length: count }, (_, index) => [`data/${index}`, noise(34_000, index + 1)]);
  const file = torchFile({ "data.pkl": assemble("NONE", "STOP"), ...Object.fromEntries(storages) });
  const { verdict, traffic } = await scanned(file);
  assert.equal(verdict, "clean");
  assert.ok(traffic.requests < 1.2 * count, `${traffic.requests} requests`);
  assert.ok(traffic.bytes < 200_000, `${traffic.bytes} bytes`);
});

function call1(key: number, length: number): Uint8Array {
  return assemble(
    "MARK",
    push("storage"),
    "GLOBAL",
    "'torch\nFloatStorage\n",
    push(`${key}`),
    push("cpu"),
    push(length),
    "TUPLE",
    "BINPERSID",
  );
}

test("a source that fails is incomplete, and the signal ends a scan", async () => {
  const source = { size: 100, name: "broken", read: () => Promise.reject(new Error("no\u001b disk")) };
  const report = await scan(source);
  assert.equal(report.verdict, "incomplete");
  assert.equal(report.findings[0]!.code, "unreadable");
  const signal = AbortSignal.abort(new Error("enough"));
  await assert.rejects(
    scan({ ...source, read: async () => signal.throwIfAborted() as never }, { signal }),
    /enough/,
  );
});
