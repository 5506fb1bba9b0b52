import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32, deflateRawSync } from "node:zlib";
import { fromBytes } from "../../src/source/memory.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { openTorch } from "../../src/torch/index.ts";
import { raises } from "../support.ts";
import { buildZip, type Member } from "../zip/zip-builder.ts";
import { pickleOf } from "./containers.ts";
import { type Plain, storage, tensor, tensorV3, torchFile } from "./torch-file.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const data = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => index);
const openBytes = (file: Uint8Array) => openTorch(fromBytes(file));
const PICKLE = pickleOf({ x: tensor() });

function deflated(name: string, plain: Uint8Array, lies: Partial<Member> = {}): Member {
  const size = { size: plain.length, compressedSize: deflateRawSync(plain).length };
  return { name: `m/${name}`, method: 8, data: deflateRawSync(plain), crc32: crc32(plain), ...size, ...lies };
}

function archive(...members: readonly Member[]): Uint8Array {
  const records = new Map<string, Member>(
    [
      deflated("data.pkl", PICKLE),
      { name: "m/version", data: bytes("3\n") },
      deflated("byteorder", bytes("little")),
      deflated("data/0", data(48)),
      ...members,
    ].map((member) => [String(member.name), member]),
  );
  return buildZip([...records.values()]);
}

test("deflated records are read as if they were stored", async () => {
  const x = (await openBytes(archive({ name: "m/" }, { name: "m/data/" }))).get("x");
  assert.deepEqual(await x.bytes(), data(48));
});

test("a deflated storage whose size is not that of the pickle is refused before anything is inflated", async () => {
  const bomb = deflated("data/0", new Uint8Array(10 ** 7));
  const reads: number[] = [];
  const memory = fromBytes(archive(bomb));
  const source: ByteSource = {
    size: memory.size,
    read: (offset, length) => {
      reads.push(length);
      return memory.read(offset, length);
    },
  };
  await assert.rejects(
    openTorch(source),
    raises("INVALID_ARCHIVE", /storage 0 has 10000000 bytes .* says 48/),
  );
});

/** A storage of so many floats, whose record says so too. */
function large(length: number, compressedSize: number): Uint8Array {
  const object = {
    x: tensor({ storage: storage("torch.FloatStorage", "0", length), size: [length], stride: [1] }),
  };
  const lies = { size: 4 * length, data: new Uint8Array(compressedSize), compressedSize };
  return archive(deflated("data.pkl", pickleOf(object)), deflated("data/0", data(48), lies));
}

test("a deflated storage that would become larger than any honest one is refused when the file is opened", async () => {
  const limit = { limit: "MAX_INFLATE_RATIO" };
  await assert.rejects(
    openBytes(large(2 ** 27, 10_000)),
    raises("LIMIT_EXCEEDED", /10000 bytes and would unpack to 536870912/, limit),
  );
  const allowed = await openTorch(fromBytes(large(2 ** 27, 10_000)), { allowExpansion: true });
  assert.deepEqual(allowed.get("x").shape, [2 ** 27]);
});

test("a deflated pickle that would become larger than any honest one is refused", async () => {
  const zeros = new Uint8Array(2 ** 25);
  const limit = { limit: "MAX_INFLATE_RATIO" };
  await assert.rejects(
    openBytes(archive(deflated("data.pkl", zeros))),
    raises("LIMIT_EXCEEDED", /data\.pkl/, limit),
  );
});

test("a text record that would become long is refused", async () => {
  const text = deflated("byteorder", bytes("little".repeat(100)));
  await assert.rejects(openBytes(archive(text)), raises("LIMIT_EXCEEDED", /byteorder has 600 bytes/));
});

const LIES: Record<string, [member: Member, message: RegExp]> = {
  "another CRC": [deflated("data/0", data(48), { crc32: 1 }), /another CRC/],
  "more bytes than it says": [deflated("data/0", data(49), { size: 48 }), /more than its 48 bytes/],
  "fewer bytes than it says": [deflated("data/0", data(47), { size: 48 }), /47 bytes, not 48/],
  "data that is no deflate": [
    deflated("data/0", data(48), { data: new Uint8Array(50).fill(255), compressedSize: 50 }),
    /damaged/,
  ],
};

for (const [what, [member, message]] of Object.entries(LIES)) {
  test(`a deflated storage with ${what} is refused when it is read`, async () => {
    const checkpoint = await openBytes(archive(member));
    await assert.rejects(checkpoint.get("x").bytes(), raises("INVALID_ARCHIVE", message));
  });
}

test("a deflated pickle with another CRC is refused", async () => {
  await assert.rejects(
    openBytes(archive(deflated("data.pkl", PICKLE, { crc32: 1 }))),
    raises("INVALID_ARCHIVE", /CRC/),
  );
});

test("a stored pickle or text with another CRC is refused, one without a CRC is not", async () => {
  const stored = { "data.pkl": PICKLE, version: bytes("3\n"), byteorder: bytes("little") };
  for (const [record, data] of Object.entries(stored)) {
    const member = { name: `m/${record}`, data };
    const file = archive({ ...member, crc32: 1 });
    await assert.rejects(
      openBytes(file),
      raises("INVALID_ARCHIVE", /"m\/.*" does not have its CRC.* get the file/),
    );
    assert.equal((await openBytes(archive({ ...member, crc32: 0 }))).size, 1);
  }
});

function bigEndian(object: Plain, stored: Uint8Array): Uint8Array {
  return torchFile({ "data.pkl": pickleOf(object), "data/0": stored, byteorder: "big" });
}

test("big-endian elements are swapped by the type of their storage", async () => {
  const float = (await openBytes(bigEndian({ x: tensor() }, data(48)))).get("x");
  assert.deepEqual((await float.bytes()).subarray(0, 8), Uint8Array.of(3, 2, 1, 0, 7, 6, 5, 4));
  const complex = tensor({ storage: storage("torch.ComplexFloatStorage", "0", 6), size: [6], stride: [1] });
  const c64 = (await openBytes(bigEndian({ x: complex }, data(48)))).get("x");
  assert.deepEqual((await c64.bytes()).subarray(0, 8), Uint8Array.of(3, 2, 1, 0, 7, 6, 5, 4));
  const byte = tensor({ storage: storage("torch.ByteStorage", "0", 48), size: [48], stride: [1] });
  assert.deepEqual(await (await openBytes(bigEndian({ x: byte }, data(48)))).get("x").bytes(), data(48));
});

test("big-endian elements of a storage without a type are refused, unless they are bytes", async () => {
  const wide = bigEndian({ x: tensorV3("uint16") }, data(48));
  await assert.rejects(
    openBytes(wide),
    raises("UNSUPPORTED", /"x" has the dtype uint16 in a big-endian file/, { tensor: "x" }),
  );
  assert.equal((await openBytes(bigEndian({ x: tensorV3("float8_e5m2") }, data(48)))).size, 1);
});

test("a byte order of another spelling is refused", async () => {
  for (const byteorder of ["BIG", "big\n", " little", "", "middle"]) {
    const file = torchFile({ "data.pkl": PICKLE, "data/0": data(48), byteorder });
    await assert.rejects(openBytes(file), raises("INVALID_ARCHIVE", /the byte order is/), byteorder);
  }
});
