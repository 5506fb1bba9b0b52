import assert from "node:assert/strict";
import { test } from "node:test";
import { concat } from "../../support.ts";
import { pickleOf, type TarMember, tarFile, tarProperties } from "../containers.ts";
import { assemble, uint } from "../pickle/assembler.ts";
import { call, global, type Plain, tuple } from "../torch-file.ts";
import { checkRow, type Row, scanned } from "./scanned.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const EVIL = assemble("PROTO", 2, call("os.system", "id"), "STOP");
const TUPLE = tuple(1, "cpu", global("torch.ByteStorage"));

/** Storages with one record, whose count of elements is given. */
const storages = (
  record: Plain,
  data: Uint8Array,
  { elements = data.length, number = 1 as Plain, parts = [] as Plain } = {},
): Uint8Array => concat([pickleOf(number), pickleOf(record), uint(8, elements), data, pickleOf(parts)]);

const STORAGES = storages(TUPLE, new Uint8Array(8));

/** Tensors with one record, of a rank that is written, and so many numbers. */
const tensors = (record: Plain, rank: number, numbers: number, number: Plain = 1): Uint8Array =>
  concat([pickleOf(number), pickleOf(record), uint(4, rank), new Uint8Array(4 + 8 * numbers)]);

const TENSOR = tuple(2, 1, global("torch.ByteTensor"));
const TENSORS = tensors(TENSOR, 1, 3);

interface Members {
  readonly storages?: Uint8Array;
  readonly tensors?: Uint8Array;
  readonly pickle?: Uint8Array;
}

function torchTar(members: Members = {}, after: readonly TarMember[] = []): Uint8Array {
  return tarFile([
    { name: "sys_info", data: pickleOf({ protocol_version: 1000 }) },
    { name: "pickle", data: members.pickle ?? pickleOf({ x: assemble("BININT1", 2, "BINPERSID") }) },
    { name: "tensors", data: members.tensors ?? TENSORS },
    { name: "storages", data: members.storages ?? STORAGES },
    ...after,
  ]);
}

/** Where the count of elements is taken for the start of a text, and the data begins with its other bytes. */
const ELEMENTS = 0x358; // "X\x03\0\0\0\0\0\0": a text of three bytes

/** Storages that hold a call, if the bytes after the record are its data; if they are opcodes, a literal does. */
function hidden(record: Plain): Uint8Array {
  const literal = ELEMENTS - 8;
  const data = concat([
    assemble("STOP", "PROTO", 3, "BINBYTES", uint(4, literal + EVIL.length)),
    new Uint8Array(literal),
  ]);
  return concat([pickleOf(1), pickleOf(record), uint(8, ELEMENTS), data, EVIL, assemble("STOP")]);
}

const bad = (what: string, members: Members): Row => [
  what,
  torchTar(members),
  "incomplete",
  "malformed-file",
];

const NOT_AS_WRITTEN: readonly Row[] = [
  bad("a record that is a list", { storages: hidden([1, "cpu", global("torch.ByteStorage")]) }),
  bad("a record that is a dict", { storages: storages({ 1: 1, cpu: 1, x: 1 }, new Uint8Array(0)) }),
  bad("a record of a class that is none of storages", {
    storages: storages(tuple(1, "cpu", global("torch.device")), new Uint8Array(0)),
  }),
  bad("a record without a class", { storages: storages(tuple(1, "cpu", "x"), new Uint8Array(0)) }),
  bad("a record of four items", {
    storages: storages(tuple(1, "cpu", global("torch.ByteStorage"), 1), new Uint8Array(8)),
  }),
  bad("fewer records than were announced", { storages: concat([pickleOf(1), pickleOf([])]) }),
  bad("more records than were announced", {
    storages: storages(TUPLE, new Uint8Array(8), { number: 0 }),
  }),
  bad("an announced number that is none", {
    storages: storages(TUPLE, new Uint8Array(8), { number: true }),
  }),
  bad("a negative number", { storages: pickleOf(-1) }),
  bad("parts that are a tuple", { storages: storages(TUPLE, new Uint8Array(8), { parts: tuple() }) }),
  bad("storages that end before their parts", { storages: STORAGES.subarray(0, -pickleOf([]).length) }),
  bad("storages that do not end there", { storages: concat([STORAGES, pickleOf(1)]) }),
  bad("a storage that is longer than its member", {
    storages: storages(TUPLE, new Uint8Array(8), { elements: 4000 }),
  }),
  // Of 8 bytes each, they are 4096 in 64 bits.
  bad("a number of elements whose bytes overflow", {
    storages: storages(tuple(1, "cpu", global("torch.LongStorage")), new Uint8Array(4096), {
      elements: 2 ** 61 + 512,
    }),
  }),
  bad("a negative number of elements", {
    storages: concat([pickleOf(1), pickleOf(TUPLE), new Uint8Array(8).fill(255), pickleOf([])]),
  }),
  bad("a tensor that is a list", { tensors: tensors([2, 1, 3], 1, 3) }),
  bad("tensors that end before their numbers", { tensors: tensors(TENSOR, 1, 2) }),
  bad("fewer tensors than were announced", { tensors: tensors(TENSOR, 1, 3, 2) }),
  bad("tensors that do not end there", { tensors: concat([TENSORS, pickleOf(1)]) }),
  bad("a tensor of negative rank", { tensors: tensors(TENSOR, 2 ** 32 - 1, 3) }),
];

for (const row of NOT_AS_WRITTEN) test(`not laid out as PyTorch wrote it: ${row[0]}`, () => checkRow(row));

test("what is not laid out so is said once, and what follows is looked into", async () => {
  const { findings } = await scanned(
    torchTar({ storages: concat([pickleOf(1), pickleOf([]), pickleOf(1), EVIL]) }),
  );
  assert.deepEqual(
    findings.map(({ code }) => code),
    ["malformed-file", "forbidden-global"],
  );
});

/** What as storages is malformed, and as a file like others nothing at all. */
const DATA = text("hello\n");
const REST = [
  { name: "tensors", data: pickleOf(0) },
  { name: "pickle", data: pickleOf(null) },
];
const named = (type: string, data: Uint8Array): Uint8Array =>
  tarFile([{ name: "sys_info" }, { name: "././x", type, data }, { name: "s", data: DATA }, ...REST]);

const ambiguous = (what: string, file: Uint8Array): Row => [what, file, "incomplete", "ambiguous-archive"];

const AMBIGUOUS: readonly Row[] = [
  ambiguous("by a property", named("x", tarProperties(["path", "storages"]))),
  ambiguous("by a property with slashes", named("x", tarProperties(["path", "storages//"]))),
  ambiguous("by a property of all members", named("g", tarProperties(["path", "storages"]))),
  ambiguous("by a property that ends elsewhere", named("x", text("17 path=storages.\n"))),
  ambiguous("by a long name", named("L", text("storages\0"))),
  ...["1", "2"].map((type) =>
    ambiguous("by a link", tarFile([{ name: "s", data: DATA }, { name: "storages", type }, ...REST])),
  ),
  ambiguous(
    "twice",
    torchTar({}, [
      { name: "x", type: "x", data: tarProperties(["path", "storages"]) },
      { name: "s", data: DATA },
    ]),
  ),
  ambiguous("twice in the same way", torchTar({}, [{ name: "storages", data: STORAGES }])),
  ambiguous("besides a folder", torchTar({}, [{ name: "data/", type: "5" }])),
  ambiguous("before properties of no member", torchTar({}, [{ name: "x", type: "x" }])),
];

for (const row of AMBIGUOUS) test(`PyTorch finds its storages ${row[0]}`, () => checkRow(row));

const OTHERS: readonly Row[] = [
  ["PyTorch's own", torchTar(), "clean"],
  ["a file like others", tarFile([{ name: "a", data: DATA }]), "clean"],
  ["storages in a folder", tarFile([{ name: "storages", prefix: "a", data: DATA }]), "clean"],
  ["storages that other members follow", torchTar({}, [{ name: "a", data: DATA }]), "clean"],
  ["no member of sys_info", tarFile([{ name: "storages", data: hidden(TUPLE) }]), "dangerous"],
  ["another member first", tarFile([{ name: "a" }, { name: "storages", data: hidden(TUPLE) }]), "dangerous"],
  ["a storage in which there is a pickle", torchTar({ storages: hidden(TUPLE) }), "dangerous"],
  [
    "a folder of other tensors",
    tarFile([
      { name: "tensors/", type: "5" },
      { name: "tensors/a.txt", data: DATA },
      { name: "storages/", type: "5" },
    ]),
    "clean",
  ],
  ["files of such names that are none", tarFile([{ name: "pickle", data: DATA }]), "clean"],
  ["a pickle of such a name", tarFile([{ name: "pickle", data: EVIL }]), "dangerous"],
  [
    "a long name, and properties",
    tarFile([
      { name: "x", type: "g", data: tarProperties(["comment", "of git"]) },
      {
        name: "x",
        type: "x",
        data: tarProperties(["path", "a/storages"], ["SCHILY.xattr.user.a-b:c", "\n"]),
      },
      { name: "a", data: DATA },
      { name: "x", type: "L", data: text(`${"long/".repeat(30)}name\0`) },
      { name: "long", data: DATA },
      { name: "b" },
    ]),
    "clean",
  ],
  [
    "a few bytes in place of its end",
    concat([tarFile([{ name: "a", data: DATA }], new Uint8Array(0)), text("PK")]),
    "incomplete",
    "bytes-after-end",
  ],
  [
    "malformed properties",
    tarFile([{ name: "x", type: "x", data: text("11 mtime=1\n\n") }, { name: "a" }]),
    "incomplete",
    "ambiguous-archive",
  ],
  [
    "another size in properties",
    tarFile([{ name: "x", type: "x", data: tarProperties(["size", "5"]) }, { name: "a" }]),
    "incomplete",
    "ambiguous-archive",
  ],
];

for (const row of OTHERS) test(`a tar archive with ${row[0]}`, () => checkRow(row));
