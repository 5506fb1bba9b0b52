import assert from "node:assert/strict";
import { test } from "node:test";
import type { ErrorCode } from "../../src/errors.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { openTorch } from "../../src/torch/index.ts";
import { fixture } from "../fixtures.ts";
import { concat, raises } from "../support.ts";
import { pickleOf, type TarMember, tarFile, tarProperties } from "./containers.ts";
import { assemble, uint } from "./pickle/assembler.ts";
import { global, type Plain, push, tuple } from "./torch-file.ts";

const data = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => index);
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const numbered = (key: Plain): Uint8Array => assemble(push(key), "BINPERSID");
const int64 = (value: number): Uint8Array => new Uint8Array(new BigInt64Array([BigInt(value)]).buffer);

const STORAGE = [pickleOf(tuple(1, "cpu", global("torch.FloatStorage"))), uint(8, 12), data(48)];
const STORAGES = concat([pickleOf(1), ...STORAGE, pickleOf([])]);

function tensorRecord(key: Plain, storage: Plain, rank: number, ...numbers: readonly number[]): Uint8Array {
  const head = pickleOf(tuple(key, storage, global("torch.FloatTensor")));
  return concat([head, new Uint8Array(new Int32Array([rank, 0]).buffer), ...numbers.map(int64)]);
}

const TENSOR = tensorRecord(2, 1, 2, 3, 4, 4, 1, 0);
const TENSORS = concat([pickleOf(1), TENSOR]);

interface Members {
  readonly pickle?: Uint8Array;
  readonly storages?: Uint8Array;
  readonly tensors?: Uint8Array;
  /** Before and after the others. */
  readonly before?: readonly TarMember[];
  readonly after?: readonly TarMember[];
}

function torchTar(members: Members = {}, end?: Uint8Array): Uint8Array {
  const { pickle, storages, tensors, before = [], after = [] } = members;
  const own = [
    { name: "sys_info", data: pickleOf({ protocol_version: 1000 }) },
    { name: "pickle", data: pickle ?? pickleOf({ x: numbered("2") }) },
    { name: "tensors", data: tensors ?? TENSORS },
    { name: "storages", data: storages ?? STORAGES },
  ];
  return tarFile([...before, ...own, ...after], end);
}

const openBytes = (file: Uint8Array) => openTorch(fromBytes(file));

test("a tar file made by hand opens; numbers may be text or ints", async () => {
  for (const key of ["2", 2]) {
    const checkpoint = await openBytes(torchTar({ pickle: pickleOf({ x: numbered(key) }) }));
    const x = checkpoint.get("x");
    assert.deepEqual([x.dtype, x.shape, await x.bytes()], ["F32", [3, 4], data(48)]);
    assert.equal(checkpoint.report.form, "tar");
  }
});

test("properties of a member that change nothing are passed", async () => {
  const properties = tarProperties(["mtime", "1488888888.25"], ["uname", "me"], ["uid", "9".repeat(30)]);
  const file = torchTar({ before: [{ name: "././@PaxHeader", type: "x", data: properties }] });
  assert.equal((await openBytes(file)).size, 1);
});

test("the class of a module may stand for itself", async () => {
  const module = assemble(tuple(global("torch.nn.modules.linear.Linear"), "linear.py", "class"), "BINPERSID");
  const { report } = await openBytes(torchTar({ pickle: pickleOf({ x: numbered("2"), y: module }) }));
  assert.equal(report.leftOut.listed[0]?.path, "y");
});

const part = (...numbers: readonly number[]): Uint8Array =>
  concat([pickleOf(1), ...STORAGE, pickleOf([tuple(...numbers)])]);

const BAD_FILES: Record<string, [members: Members, code: ErrorCode, message: RegExp]> = {
  "a member that is there twice": [
    { after: [{ name: "pickle", data: pickleOf(1) }] },
    "INVALID_ARCHIVE",
    /two members .* "pickle"/,
  ],
  "a member that is a link": [
    { after: [{ name: "x", type: "2" }] },
    "UNSUPPORTED",
    /"x", which is no regular file/,
  ],
  "a long name in GNU's way": [
    { before: [{ name: "././@LongLink", type: "L", data: text("pickle\0") }] },
    "UNSUPPORTED",
    /no regular file/,
  ],
  "properties for all members": [{ before: [{ name: "x", type: "g" }] }, "UNSUPPORTED", /no regular file/],
  "a member with another name in its properties": [
    { before: [{ name: "x", type: "x", data: tarProperties(["path", "storages"]) }] },
    "INVALID_ARCHIVE",
    /the property "path"/,
  ],
  "a member with another size in its properties": [
    { before: [{ name: "x", type: "x", data: tarProperties(["mtime", "1"], ["size", "5"]) }] },
    "INVALID_ARCHIVE",
    /the property "size"/,
  ],
  "properties that are malformed": [
    { before: [{ name: "x", type: "x", data: text("99 mtime=1\n") }] },
    "INVALID_ARCHIVE",
    /malformed/,
  ],
  "properties whose length is wrong": [
    { before: [{ name: "x", type: "x", data: text("11 mtime=1\n\n") }] },
    "INVALID_ARCHIVE",
    /malformed/,
  ],
  "too many properties": [
    { before: [{ name: "x", type: "x", data: new Uint8Array(70_000) }] },
    "LIMIT_EXCEEDED",
    /properties/,
  ],
  "a folder in old spelling, whose data Python takes for members": [
    { after: [{ name: "x/", type: "\0", data: data(512) }] },
    "INVALID_ARCHIVE",
    /has a folder/,
  ],
  "properties of no member at its end": [
    { after: [{ name: "x", type: "x", data: tarProperties(["mtime", "1"]) }] },
    "INVALID_ARCHIVE",
    /ends with properties of no member/,
  ],
  "a member in a folder": [{ after: [{ name: "x", prefix: "up" }] }, "INVALID_ARCHIVE", /lies in a folder/],
  "a member with the wrong checksum": [
    { after: [{ name: "x", checksum: 5 }] },
    "INVALID_ARCHIVE",
    /no proper header/,
  ],
  "a member of an unknown kind of tar": [
    { after: [{ name: "x", magic: "other\0" + "00" }] },
    "INVALID_ARCHIVE",
    /no proper header/,
  ],
  "a member that is longer than the file": [
    { after: [{ name: "x", size: 8 ** 11 - 1 }] },
    "INVALID_ARCHIVE",
    /"x" runs over the end/,
  ],
  "a count of 2^53 storages": [
    { storages: concat([pickleOf(2 ** 53 - 1), ...STORAGE]) },
    "LIMIT_EXCEEDED",
    /9007199254740991 storages/,
  ],
  "a count that is too large": [
    { storages: concat([pickleOf(100_000), ...STORAGE]) },
    "INVALID_PICKLE",
    /ends at byte 0 without STOP/,
  ],
  "a count that is text": [
    { storages: pickleOf("1") },
    "INVALID_ARCHIVE",
    /"storages" .* does not begin with the number/,
  ],
  "a storage that is longer than its member": [
    { storages: concat([pickleOf(1), STORAGE[0]!, uint(8, 2 ** 40), data(48), pickleOf([])]) },
    "INVALID_ARCHIVE",
    /4398046511104 bytes are announced/,
  ],
  "a storage of impossible length": [
    { storages: concat([pickleOf(1), STORAGE[0]!, uint(8, 2 ** 60), data(48), pickleOf([])]) },
    "INVALID_ARCHIVE",
    /impossible length/,
  ],
  "a storage of an unknown class": [
    { storages: concat([pickleOf(1), pickleOf(tuple(1, "cpu", global("company.FloatStorage")))]) },
    "FORBIDDEN_GLOBAL",
    /not a storage class/,
  ],
  "a storage without a class": [
    { storages: concat([pickleOf(1), pickleOf(tuple(1, "cpu", "x"))]) },
    "INVALID_ARCHIVE",
    /no class/,
  ],
  "a storage that runs something": [
    { storages: concat([pickleOf(1), pickleOf(tuple(1, "cpu", global("os.system")))]) },
    "FORBIDDEN_GLOBAL",
    /"os\.system"/,
  ],
  "two storages with one number": [
    { storages: concat([pickleOf(2), ...STORAGE, ...STORAGE, pickleOf([])]) },
    "INVALID_ARCHIVE",
    /two objects have the number 1/,
  ],
  "bytes after the storages": [
    { storages: concat([STORAGES, data(1)]) },
    "INVALID_ARCHIVE",
    /something follows/,
  ],
  "a part outside of its storage": [
    { storages: part(5, 1, 8, 5) },
    "INVALID_ARCHIVE",
    /part of a storage does not lie in it/,
  ],
  "a part with a negative offset": [{ storages: part(5, 1, -1, 5) }, "INVALID_ARCHIVE", /part of a storage/],
  "a part of nothing": [{ storages: part(5, 7, 0, 1) }, "INVALID_ARCHIVE", /no object with the number 7/],
  "parts that are no list": [
    { storages: concat([pickleOf(1), ...STORAGE, pickleOf({})]) },
    "INVALID_ARCHIVE",
    /not a list/,
  ],
  "a tensor of a tensor": [
    { tensors: concat([pickleOf(2), TENSOR, tensorRecord(3, 2, 0, 0)]) },
    "INVALID_ARCHIVE",
    /number 2 is no storage/,
  ],
  "a tensor with 65 dimensions": [
    { tensors: concat([pickleOf(1), tensorRecord(2, 1, 65)]) },
    "INVALID_ARCHIVE",
    /65 dimensions/,
  ],
  "a tensor with -1 dimensions": [
    { tensors: concat([pickleOf(1), tensorRecord(2, 1, -1)]) },
    "INVALID_ARCHIVE",
    /-1 dimensions/,
  ],
  "a tensor that is cut off": [
    { tensors: concat([pickleOf(1), tensorRecord(2, 1, 2, 3, 4, 4, 1)]) },
    "INVALID_ARCHIVE",
    /40 bytes are announced, 32/,
  ],
  "a tensor that ends behind its storage": [
    { tensors: concat([pickleOf(1), tensorRecord(2, 1, 2, 3, 4, 4, 1, 1)]) },
    "INVALID_TENSOR",
    /"x" ends at element 13/,
  ],
  "a tensor with a negative stride": [
    { tensors: concat([pickleOf(1), tensorRecord(2, 1, 1, 3, -1, 3)]) },
    "INVALID_TENSOR",
    /non-negative/,
  ],
  "a tensor with a size of 2^60": [
    { tensors: concat([pickleOf(1), tensorRecord(2, 1, 1, 2 ** 60, 1, 0)]) },
    "INVALID_TENSOR",
    /non-negative/,
  ],
  "bytes after the tensors": [
    { tensors: concat([TENSORS, data(1)]) },
    "INVALID_ARCHIVE",
    /"tensors" .*something follows/,
  ],
  "an object that is not there": [
    { pickle: pickleOf({ x: numbered("9") }) },
    "INVALID_PICKLE",
    /no object with the number 9/,
  ],
  "an object whose number is none": [
    { pickle: pickleOf({ x: numbered("x") }) },
    "INVALID_PICKLE",
    /number of an object/,
  ],
  "bytes after the pickle": [
    { pickle: concat([pickleOf({ x: numbered("2") }), data(1)]) },
    "INVALID_ARCHIVE",
    /something follows/,
  ],
};

for (const [what, [members, code, message]] of Object.entries(BAD_FILES)) {
  test(`a tar file with ${what} is refused`, async () => {
    await assert.rejects(openBytes(torchTar(members)), raises(code, message));
  });
}

test("a tar file that does not end with zeros only is refused", async () => {
  const rest = concat([new Uint8Array(1024), data(512)]);
  await assert.rejects(openBytes(torchTar({}, rest)), raises("INVALID_ARCHIVE", /follows the end/));
  await assert.rejects(
    openBytes(torchTar({}, new Uint8Array(2 ** 21))),
    raises("INVALID_ARCHIVE", /follows the end/),
  );
  await assert.rejects(openBytes(torchTar({}, new Uint8Array(0))), raises("INVALID_ARCHIVE", /cut off/));
});

test("a tar archive of something else says so", async () => {
  const file = tarFile([{ name: "weights.ckpt", data: data(9) }]);
  await assert.rejects(
    openBytes(file),
    raises("UNSUPPORTED", /tar archive, but not one of PyTorch: unpack it/, { kind: "tar" }),
  );
});

test("a tar archive of very many members is refused", async () => {
  const many = Array.from({ length: 200 }, (_, index) => ({ name: `m${index}` }));
  await assert.rejects(openBytes(torchTar({ after: many })), raises("LIMIT_EXCEEDED", /too many members/));
});

test("what begins as a legacy file is a tar archive if it is one too, as it is to PyTorch", async () => {
  const magic = "\x80\x02\x8a\nl";
  const file = tarFile([{ name: magic }]);
  await assert.rejects(openBytes(file), raises("UNSUPPORTED", /tar archive/));
});

test("a tar file that is cut anywhere holds the same, or is refused", async () => {
  const file = fixture("torch/tar-archive.pt");
  const whole = await (await openBytes(file)).get("transposed").bytes();
  let opened = 0;
  for (let length = 0; length < file.length; length += length > 6000 ? 97 : 7) {
    const checkpoint = await openBytes(file.subarray(0, length)).catch((error) => {
      assert.equal(error.name, "SafetensorsError");
    });
    if (!checkpoint) continue;
    assert.deepEqual(await checkpoint.get("transposed").bytes(), whole);
    opened++;
  }
  assert.ok(opened > 0);
});
