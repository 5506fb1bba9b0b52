import assert from "node:assert/strict";
import { test } from "node:test";
import type { ErrorCode } from "../../src/errors.ts";
import { fromBytes } from "../../src/source/memory.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { openTorch } from "../../src/torch/index.ts";
import { PickleExtent } from "../../src/torch/pickle/extent.ts";
import { fixture } from "../fixtures.ts";
import { concat, raises, stridedViewOf } from "../support.ts";
import { legacyFile, legacyStorage, legacyTensor, MAGIC } from "./containers.ts";
import { assemble, uint } from "./pickle/assembler.ts";
import { call, global, push, storage, tensor, tuple } from "./torch-file.ts";

const data = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => index);
const openBytes = (file: Uint8Array) => openTorch(fromBytes(file));

test("a legacy file made by hand opens; its tensors are views of the file", async () => {
  const file = legacyFile({ storages: [[12, data(48)]] });
  const checkpoint = await openBytes(file);
  const x = checkpoint.get("x");
  assert.deepEqual([x.dtype, x.shape, stridedViewOf(x).bitOffset], ["F32", [3, 4], (file.length - 48) * 8]);
  assert.deepEqual(await x.bytes(), data(48));
  assert.deepEqual([checkpoint.report.form, checkpoint.report.root], ["legacy", ""]);
});

test("the magic number may stand in digits, as protocol 1 writes it", async () => {
  const start = assemble("'L119547037146038801333356L\n", "STOP");
  const rest = legacyFile().subarray(2 + MAGIC.length + 1);
  assert.deepEqual([...(await openBytes(concat([start, rest]))).keys()], ["x"]);
});

test("the class of a module may stand for itself, with its source", async () => {
  const linear = global("torch.nn.modules.linear.Linear");
  const module = assemble(tuple("module", linear, "linear.py", "class Linear: pass"), "BINPERSID");
  const object = { x: legacyTensor(), y: assemble(module, "EMPTY_TUPLE", "NEWOBJ") };
  const { report } = await openBytes(legacyFile({ object }));
  assert.deepEqual(report.leftOut.listed, [{ path: "y", kind: "object of torch.nn.modules.linear.Linear" }]);
});

test("text may be bytes, as Python 2 wrote it", async () => {
  const word = (value: string) => assemble("SHORT_BINSTRING", value.length, `'${value}`);
  const parts = [word("storage"), global("torch.FloatStorage"), word("1"), word("cpu"), push(12), push(null)];
  const old = assemble("MARK", ...parts, "TUPLE", "BINPERSID");
  const object = new Map([[word("x"), legacyTensor(old)]]);
  const checkpoint = await openBytes(legacyFile({ object, keys: [word("1")] }));
  assert.deepEqual([...checkpoint.keys()], ["x"]);
});

test("a view of a storage is a part of it", async () => {
  const part = legacyStorage("1", 14, tuple("2", 2, 12));
  const file = legacyFile({
    object: { x: legacyTensor(part), all: legacyTensor(legacyStorage("1", 14)) },
    storages: [[14, data(56)]],
  });
  const checkpoint = await openBytes(file);
  assert.deepEqual(await checkpoint.get("x").bytes(), data(56).subarray(8));
  assert.deepEqual(await checkpoint.get("all").bytes(), data(56).subarray(0, 48));
});

const twoTensors = { x: legacyTensor(), y: legacyTensor(legacyStorage("2")) };
const fourByFour = data(48);

/** Each with a part of the message. */
const BAD_FILES: Record<string, [parts: Parameters<typeof legacyFile>[0], code: ErrorCode, message: RegExp]> =
  {
    "a count that is too small": [
      { storages: [[11, fourByFour]] },
      "INVALID_ARCHIVE",
      /11 elements in the file, the pickle says 12/,
    ],
    "a count that is too large": [
      { storages: [[2 ** 53 - 1, fourByFour]] },
      "INVALID_ARCHIVE",
      /storage 1 has 9007199254740991 elements/,
    ],
    "a storage that is too short": [
      { storages: [[12, data(47)]] },
      "INVALID_ARCHIVE",
      /end at byte \d+, the file has/,
    ],
    "bytes after the last storage": [{ after: data(1) }, "INVALID_ARCHIVE", /end at byte \d+, the file has/],
    "another legacy file after it": [{ after: legacyFile() }, "INVALID_ARCHIVE", /end at byte/],
    "a storage of 2^45 elements": [
      { object: { x: legacyTensor(legacyStorage("1", 2 ** 45)) }, storages: [[2 ** 45, fourByFour]] },
      "INVALID_ARCHIVE",
      /end at byte 14\d{13}, the file has/,
    ],
    "a storage of 2^60 bits": [
      { object: { x: legacyTensor(legacyStorage("1", 2 ** 50)) } },
      "INVALID_PICKLE",
      /impossible length/,
    ],
    "a negative length": [
      { object: { x: legacyTensor(legacyStorage("1", -1)) } },
      "INVALID_PICKLE",
      /impossible length/,
    ],
    "a key that nobody uses": [
      { keys: ["1", "2"] },
      "INVALID_PICKLE",
      /storage 2 is in the file, but not in the pickle/,
    ],
    "a key that is there twice": [{ keys: ["1", "1"] }, "INVALID_PICKLE", /storage 1 is there twice/],
    "a storage without a key": [
      { object: twoTensors },
      "INVALID_PICKLE",
      /1 storages of the pickle are not in the file/,
    ],
    "a key that is no number": [{ keys: ["../1"] }, "INVALID_PICKLE", /key of a storage is not a number/],
    "keys that are no list": [{ keys: tuple("1") }, "INVALID_PICKLE", /keys are not a list/],
    "a storage with two lengths": [
      { object: { x: legacyTensor(), y: legacyTensor(legacyStorage("1", 13)) } },
      "INVALID_PICKLE",
      /described in two ways/,
    ],
    "a storage with two types": [
      { object: { x: legacyTensor(), y: legacyTensor(legacyStorage("1", 12, null, "torch.IntStorage")) } },
      "INVALID_PICKLE",
      /described in two ways/,
    ],
    "another version": [{ version: 1002 }, "INVALID_PICKLE", /not the number 1001/],
    "a version that is computed": [
      { version: call("builtins.list") },
      "INVALID_PICKLE",
      /names "builtins\.list"/,
    ],
    "a version that is a float": [
      { version: assemble("BINFLOAT", Uint8Array.of(0x40, 0x8f, 0x48, 0, 0, 0, 0, 0)) },
      "INVALID_PICKLE",
      /not the number 1001/,
    ],
    "a version with more than a literal": [
      { version: assemble("NONE", "POP", push(1001), "DUP", "POP") },
      "INVALID_PICKLE",
      /not the number 1001/,
    ],
    "a machine that is no dict": [{ machine: [1] }, "INVALID_PICKLE", /not described by a dict/],
    "a machine that names something": [
      { machine: { x: global("company.f") } },
      "INVALID_PICKLE",
      /names "company\.f"/,
    ],
    "a machine that runs something": [
      { machine: { x: global("os.system") } },
      "FORBIDDEN_GLOBAL",
      /"os\.system"/,
    ],
    "keys that run something": [{ keys: ["1", global("os.system")] }, "FORBIDDEN_GLOBAL", /"os\.system"/],
    "a persistent id of five parts": [
      { object: { x: tensor({ storage: storage() }) } },
      "INVALID_PICKLE",
      /neither that of a storage nor/,
    ],
    "a module that is text": [
      { object: assemble(tuple("module", "x", "", ""), "BINPERSID") },
      "INVALID_PICKLE",
      /neither that of a storage nor/,
    ],
    "a view that is no tuple": [
      { object: legacyTensor(legacyStorage("1", 12, 5)) },
      "INVALID_PICKLE",
      /not described by key, offset/,
    ],
    "a view that ends behind its storage": [
      { object: legacyTensor(legacyStorage("1", 12, tuple("2", 1, 12))) },
      "INVALID_PICKLE",
      /view 2 ends behind storage 1/,
    ],
    "a view with a negative offset": [
      { object: legacyTensor(legacyStorage("1", 12, tuple("2", -1, 12))) },
      "INVALID_PICKLE",
      /not described by key, offset/,
    ],
    "a view that is described in two ways": [
      {
        object: [
          legacyTensor(legacyStorage("1", 14, tuple("2", 0, 12))),
          legacyTensor(legacyStorage("1", 14, tuple("2", 1, 12))),
        ],
        storages: [[14, data(56)]],
      },
      "INVALID_PICKLE",
      /view 2 is described in two ways/,
    ],
    "a view that is also a storage": [
      { object: legacyTensor(legacyStorage("1", 12, tuple("1", 0, 12))) },
      "INVALID_PICKLE",
      /storage 1 is also a view/,
    ],
    "a class that is none of storages": [
      { object: legacyTensor(legacyStorage("1", 12, null, "company.FloatStorage")) },
      "FORBIDDEN_GLOBAL",
      /not a storage class/,
    ],
  };

for (const [what, [parts, code, message]] of Object.entries(BAD_FILES)) {
  test(`a legacy file with ${what} is refused`, async () => {
    await assert.rejects(openBytes(legacyFile(parts)), raises(code, message));
  });
}

test("a legacy file that is cut anywhere is refused", async () => {
  for (const file of [
    legacyFile(),
    fixture("torch/legacy-views.pt"),
    fixture("torch/legacy-protocol-4.pt"),
  ]) {
    for (let length = 0; length < file.length; length++) {
      await assert.rejects(openBytes(file.subarray(0, length)), isOurs);
    }
  }
});

function isOurs(error: unknown): boolean {
  return (error as Error).name === "SafetensorsError";
}

/** A file whose data is never in memory; counts the bytes that are read. */
function sparse(
  head: Uint8Array,
  size: number,
  words: ReadonlyMap<number, Uint8Array>,
): ByteSource & { total: number } {
  const source = {
    size,
    total: 0,
    async read(offset: number, length: number) {
      source.total += length;
      const bytes = new Uint8Array(length);
      bytes.set(head.subarray(offset, offset + length));
      for (const [at, word] of words)
        if (at >= offset && at + 8 <= offset + length) bytes.set(word, at - offset);
      return bytes;
    },
  };
  return source;
}

test("of the storages only the counts are read, however large they are", async () => {
  const keys = Array.from({ length: 50 }, (_, index) => String(index + 10));
  const length = 2 ** 31;
  const object = Object.fromEntries(keys.map((key) => [`t${key}`, legacyTensor(legacyStorage(key, length))]));
  const head = legacyFile({ object, keys, storages: [] });
  const words = new Map(keys.map((_, index) => [head.length + index * (8 + 4 * length), uint(8, length)]));
  const source = sparse(head, head.length + keys.length * (8 + 4 * length), words);
  const checkpoint = await openTorch(source);
  assert.equal(checkpoint.size, 50);
  assert.ok(source.total < 40_000, `${source.total} bytes were read`);
});

test("a long pickle is read in few reads, and no further than to its end", async () => {
  const object = {
    x: legacyTensor(),
    text: "a".repeat(300_000),
    more: Array.from({ length: 2000 }, () => "b"),
  };
  const file = legacyFile({ object, storages: [[12, data(48)]] });
  const memory = fromBytes(file);
  const reads: number[] = [];
  const source: ByteSource = {
    size: memory.size,
    read: (offset, length) => {
      reads.push(length);
      return memory.read(offset, length);
    },
  };
  assert.deepEqual(await (await openTorch(source)).get("x").bytes(), data(48));
  assert.ok(reads.length < 14, `${reads.length} reads`);
});

test("the end of a pickle is found in any number of steps", () => {
  for (const name of ["pickle-0", "pickle-1", "pickle-2", "pickle-4", "pickle-5", "plain-pickle"]) {
    const file = fixture(`torch/${name}.pt`);
    const longer = concat([file, data(40)]);
    const once = new PickleExtent();
    assert.equal(once.findEnd(longer), true, name);
    assert.equal(once.at, file.length, name);
    const slow = new PickleExtent();
    let length = 0;
    while (!slow.findEnd(longer.subarray(0, length))) length++;
    assert.deepEqual([slow.at, length], [file.length, file.length], name);
  }
});
