import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBytes } from "../../../src/source/memory.ts";
import { openTorch } from "../../../src/torch/index.ts";
import { concat, raises } from "../../support.ts";
import { buildZip } from "../../zip/zip-builder.ts";
import { pickleOf, type TarMember, tarFile } from "../containers.ts";
import { assemble, uint } from "../pickle/assembler.ts";
import { call, push, tensor, torchFile } from "../torch-file.ts";
import { checkRow, type Row, scanned } from "./scanned.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const EVIL = assemble("PROTO", 2, call("os.system", "id"), "STOP");
const GOOD = assemble("PROTO", 2, tensor(), "STOP");
const storage = new Uint8Array(48);

const python = (name: string): Uint8Array =>
  torchFile({ "data.pkl": GOOD, "data/0": storage, [name]: "import os" });

/** The members of a tar archive whose first header begins as a literal that holds all of it. */
function tarInLiteral(opcode: "BINBYTES" | "BINUNICODE", first: Partial<TarMember> = {}): Uint8Array {
  const rest = [
    { name: "storages", data: EVIL },
    { name: "tensors", data: pickleOf(0) },
    { name: "pickle", data: pickleOf(null) },
  ];
  const length = tarFile([{ name: "" }, ...rest]).length;
  const name = assemble("PROTO", 3, opcode, uint(4, length - 7));
  const own = { magic: "", ...first, name: name.subarray(0, 7) };
  return concat([tarFile([own, ...rest]), assemble("STOP")]);
}

/** The sum of a header's bytes as signed ones, its checksum taken as blanks. */
function signedSum(file: Uint8Array): number {
  const header = new Int8Array(file.slice(0, 512).buffer).fill(0x20, 148, 156);
  return header.reduce((sum, byte) => sum + byte, 0);
}

function patched(file: Uint8Array, at: number, bytes: ArrayLike<number>): Uint8Array {
  const changed = new Uint8Array(file);
  changed.set(bytes, at);
  return changed;
}

/** A header with another text as its checksum. */
const field = (at: number, text: string, file: Uint8Array): Uint8Array =>
  patched(file, at, utf8(text.padEnd(8, "\0")));

/** The sum of a header's bytes in two bytes, and in its place. */
function sumBytes(file: Uint8Array): number[] {
  const header = file.slice(0, 512).fill(0x20, 148, 156);
  const total = header.reduce((sum, byte) => sum + byte, 0);
  return [total >> 8, total & 255];
}

function summed(file: Uint8Array): Uint8Array {
  const [high, low] = sumBytes(file);
  return field(148, (high! * 256 + low!).toString(8).padStart(6, "0"), file);
}

const V7 = tarInLiteral("BINBYTES");
const SIGNED = tarInLiteral("BINBYTES", { checksum: signedSum(V7) });
const WRONG = tarInLiteral("BINBYTES", { checksum: 1 });
const sum = (file: Uint8Array): string => new TextDecoder().decode(file.subarray(148, 154));

const TARS: readonly Row[] = [
  ["a tar archive in bytes", V7, "dangerous", "forbidden-global"],
  ["a tar archive in text", tarInLiteral("BINUNICODE"), "dangerous", "forbidden-global"],
  ["a checksum of signed bytes", SIGNED, "dangerous", "forbidden-global"],
  ...[`0o${sum(V7)}`, `\t+${sum(V7)}`, `${sum(V7).slice(0, 3)}_${sum(V7).slice(3)}\n`].map(
    (text): Row => [`a checksum as ${JSON.stringify(text)}`, field(148, text, V7), "dangerous"],
  ),
  ["a checksum in bytes of GNU", patched(V7, 148, [0x80, 0, 0, 0, 0, 0, ...sumBytes(V7)]), "dangerous"],
  ["a wrong checksum", WRONG, "clean"],
  [
    "a PyTorch file at the end of an old archive",
    tarFile([{ name: "x", magic: "", data: python("x") }]),
    "clean",
  ],
  ["a right checksum, and a mode that is no number", summed(patched(V7, 100, utf8("mode"))), "clean"],
  ["a checksum that is no number", field(148, "checksum", V7), "clean"],
  [
    "a folder with a member as its data",
    tarWithHidden({ name: "folder", type: "5" }),
    "dangerous",
    "ambiguous-archive",
  ],
  [
    "an old folder with a member as its data",
    tarWithHidden({ name: "folder/", type: "\0" }),
    "dangerous",
    "ambiguous-archive",
  ],
  [
    "a link with a member as its data",
    tarWithHidden({ name: "link", type: "2" }),
    "dangerous",
    "ambiguous-archive",
  ],
  [
    "an empty folder",
    tarFile([
      { name: "folder/", type: "5" },
      { name: "x", data: utf8("x") },
    ]),
    "clean",
  ],
  [
    "another size among properties",
    tarFile([{ name: "p", type: "x", data: utf8("7 a=bcX12 size=1234\n") }]),
    "incomplete",
    "ambiguous-archive",
  ],
];

function tarWithHidden(member: TarMember): Uint8Array {
  return tarFile([{ ...member, data: tarFile([{ name: "x", data: EVIL }], new Uint8Array(0)) }]);
}

for (const row of TARS) test(`tar: ${row[0]}`, () => checkRow(row));

test("a tar archive that begins as an empty ZIP archive", async () => {
  const rest = [{ name: "x", data: EVIL }];
  const length = tarFile([{ name: "" }, ...rest]).length;
  const name = concat([utf8("PK\x05\x06"), new Uint8Array(16), uint(2, length - 22)]);
  const { verdict } = await scanned(tarFile([{ name }, ...rest]));
  assert.equal(verdict, "dangerous");
});

test("what torch.load takes for a tar archive is opened as one or not at all", async () => {
  for (const file of [V7, SIGNED])
    await assert.rejects(openTorch(fromBytes(file)), raises("INVALID_ARCHIVE", /tar archive/));
});

const npy = (data: Uint8Array): Uint8Array => {
  const header = utf8("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n");
  return concat([Uint8Array.of(0x93), utf8("NUMPY\x01\0"), uint(2, header.length), header, data]);
};
const MEMBERS: readonly Row[] = [
  [
    "an array of objects as a storage",
    torchFile({ "data.pkl": GOOD, "data/0": storage, "data/1": npy(EVIL) }),
    "dangerous",
    "forbidden-global",
  ],
  [
    "an array of objects as code",
    torchFile({ "data.pkl": GOOD, "data/0": storage, "code/x.npy": npy(EVIL) }),
    "dangerous",
    "forbidden-global",
  ],
  ...[
    "x.py",
    "x.PYC",
    "lib/x.pyd",
    "x.so",
    "libc.so.6",
    "x.pyz",
    "x.dll",
    "x.dylib",
    ".data/extern_modules",
    "site-packages/x.pth",
  ].map((name): Row => [`a member ${name}`, python(name), "incomplete", "contains-code"]),
  ["a member that only sounds like code", python("happy"), "clean"],
  ["a member with a name as PyTorch files have", python("model.pth"), "clean"],
  [
    "a module in another ZIP archive",
    buildZip([{ name: "__main__.py", data: utf8("import os") }]),
    "incomplete",
    "contains-code",
  ],
  [
    "a module in a tar archive",
    tarFile([{ name: "m.py", data: utf8("import os") }]),
    "incomplete",
    "contains-code",
  ],
  [
    "a module in a tar archive by its long name",
    tarFile([
      { name: "p", type: "x", data: utf8("13 path=m.py\n") },
      { name: "m", data: utf8("import os") },
    ]),
    "incomplete",
    "contains-code",
  ],
  [
    "a module in a tar archive by its long name of GNU",
    tarFile([
      { name: "p", type: "L", data: utf8("m.py\0") },
      { name: "m", data: utf8("import os") },
    ]),
    "incomplete",
    "contains-code",
  ],
];

for (const row of MEMBERS) test(`members: ${row[0]}`, () => checkRow(row));

test("code is told once for an archive", async () => {
  const names = { "code/__torch__.py": "x", "code/x.debug_pkl": "x" };
  const { findings } = await scanned(torchFile({ "data.pkl": GOOD, "data/0": storage, ...names }));
  assert.deepEqual(
    findings.map(({ message }) => message),
    ['is an archive of PyTorch whose code runs when it is loaded: "model/code/__torch__.py"'],
  );
  const two = await scanned(torchFile({ "data.pkl": GOOD, "data/0": storage, "a.py": "x", "b.py": "x" }));
  assert.deepEqual(
    two.findings.map(({ message }) => message),
    ['brings along code that loading may run: "model/a.py"'],
  );
});

const HDF5 = concat([Uint8Array.of(0x89), utf8("HDF\r\n\x1a\n"), new Uint8Array(100)]);
const LAMBDA = utf8('{"class_name": "Lambda", "function_type": "lambda"}');

test("HDF5 behind a block of something else is found at each power of two", async () => {
  for (const block of [512, 1024, 4096, 65_536]) {
    const content = new Uint8Array(block - 5);
    const file = concat([
      assemble("BINSTRING", uint(4, block - 5 + HDF5.length + LAMBDA.length)),
      content,
      HDF5,
      LAMBDA,
      assemble("STOP"),
    ]);
    const { verdict, findings } = await scanned(file);
    assert.equal(verdict, "dangerous", `${block}`);
    assert.ok(findings.some(({ code }) => code === "keras-lambda"));
  }
  const other = concat([
    assemble("BINSTRING", uint(4, 700 - 5 + HDF5.length)),
    new Uint8Array(695),
    HDF5,
    assemble("STOP"),
  ]);
  assert.equal((await scanned(other)).verdict, "clean");
});

test("HDF5 in the storage of a PyTorch file", async () => {
  const data = new Uint8Array(5000);
  const place = (file: Uint8Array): number => new TextDecoder("latin1").decode(file).indexOf("\x89HDF");
  data.set(HDF5, 1000);
  const records = { "data.pkl": push({}), "data/1": data };
  const start = place(torchFile({ ...records, "data.pkl": assemble("NONE", "STOP") }));
  data.fill(0).set(concat([HDF5, LAMBDA]), 1000 + 2048 - start);
  const file = torchFile({ ...records, "data.pkl": assemble("NONE", "STOP") });
  assert.equal(place(file), 2048);
  assert.equal((await scanned(file)).verdict, "dangerous");
});

const keras = (
  weights: Uint8Array,
  config = '{"class_name":"Sequential","module":"keras","config":{}}',
): Uint8Array =>
  buildZip([
    { name: "config.json", data: utf8(config) },
    { name: "model.weights.h5", data: weights },
  ]);

test("the weights of a Keras archive are known to be that", async () => {
  await checkRow(["weights", keras(HDF5), "clean"]);
  await checkRow(["a model", keras(concat([HDF5, utf8("model_config")])), "incomplete", "not-understood"]);
  await checkRow(["a bad configuration", keras(HDF5, "{"), "incomplete", "malformed-file"]);
  const alone = buildZip([{ name: "model.weights.h5", data: HDF5 }]);
  await checkRow(["no configuration", alone, "incomplete", "not-understood"]);
});
