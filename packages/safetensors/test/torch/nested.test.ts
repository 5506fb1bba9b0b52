import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBytes } from "../../src/source/memory.ts";
import { openTorch } from "../../src/torch/index.ts";
import { concat, raises } from "../support.ts";
import { legacyFile, legacyStorage, legacyTensor, pickleOf } from "./containers.ts";
import { assemble, repeat, uint } from "./pickle/assembler.ts";
import { call, global, type Plain, strided, tensor, torchFile } from "./torch-file.ts";

const data = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => index);

/** Bytes in a pickle, as protocol 3 writes them. */
const binary = (bytes: Uint8Array): Uint8Array => assemble("BINBYTES", uint(4, bytes.length), bytes);

/** The call that opens a PyTorch file in bytes. */
const load = (file: Uint8Array): Uint8Array => call("torch.storage._load_from_bytes", binary(file));

/** A tensor as plain pickle writes it: its storage is a file of its own. */
function plainTensor(storageFile: Uint8Array): Uint8Array {
  return call("torch._utils._rebuild_tensor_v2", ...strided({ storage: load(storageFile) }), false, null);
}

const STORAGE = legacyFile({ object: legacyStorage(), storages: [[12, data(48)]] });

const openPickleOf = (value: Plain) => openTorch(fromBytes(pickleOf(value)));

test("a tensor in a plain pickle", async () => {
  const checkpoint = await openPickleOf({ x: plainTensor(STORAGE), y: 3 });
  assert.deepEqual(await checkpoint.get("x").bytes(), data(48));
  assert.equal(checkpoint.report.form, "pickle");
  const loader = checkpoint.report.globals.find(({ name }) => name === "torch.storage._load_from_bytes");
  assert.deepEqual([loader?.role, loader?.called], ["interpreted", true]);
  assert.ok(checkpoint.report.globals.some(({ name }) => name === "torch.FloatStorage"));
});

test("bytes as protocol 2 writes them", async () => {
  const text = Array.from(STORAGE, (byte) => String.fromCharCode(byte)).join("");
  const file = call("_codecs.encode", text, "latin1");
  const storage = call("torch.storage._load_from_bytes", file);
  const checkpoint = await openPickleOf({ x: tensor({ storage }) });
  assert.deepEqual(await checkpoint.get("x").bytes(), data(48));
});

test("in a file of torch.save too, and whole dicts", async () => {
  const inner = load(legacyFile({ storages: [[12, data(48)]] }));
  const records = { "data.pkl": pickleOf({ outer: tensor(), inner }), "data/0": new Uint8Array(48) };
  const checkpoint = await openTorch(fromBytes(torchFile(records)));
  assert.deepEqual([...checkpoint.keys()].sort(), ["inner.x", "outer"]);
  assert.deepEqual(await checkpoint.get("inner.x").bytes(), data(48));
});

test("a file with many tensors in a pickle of few opcodes", async () => {
  const object = Object.fromEntries(
    Array.from({ length: 3000 }, (_, index) => [`t${index}`, legacyTensor()]),
  );
  assert.equal((await openPickleOf(load(legacyFile({ object })))).size, 3000);
});

test("files in files: eight are opened, nine are not", async () => {
  let file = legacyFile();
  for (let depth = 1; depth < 8; depth++) file = legacyFile({ object: load(file), keys: [], storages: [] });
  assert.equal((await openPickleOf({ a: load(file) })).size, 1);
  const deeper = legacyFile({ object: load(file), keys: [], storages: [] });
  await assert.rejects(
    openPickleOf({ a: load(deeper) }),
    raises("LIMIT_EXCEEDED", /too deep/, { limit: "MAX_NESTED_PICKLES" }),
  );
});

test("the same bytes again and again are refused", async () => {
  const file = legacyFile({ object: { x: legacyTensor(), text: "a".repeat(2 ** 20) } });
  const again = repeat(300, "BINGET", 1, "BINGET", 0, "REDUCE", "POP");
  const value = assemble(
    binary(file),
    "TUPLE1",
    "BINPUT",
    0,
    "POP",
    global("torch.storage._load_from_bytes"),
    "BINPUT",
    1,
    again,
  );
  await assert.rejects(
    openPickleOf(value),
    raises("LIMIT_EXCEEDED", /too many bytes/, { limit: "MAX_NESTED_BYTES" }),
  );
});

test("a long pickle again and again is refused", async () => {
  const file = legacyFile({ object: assemble(repeat(1_000_000, "NONE", "POP"), legacyTensor()) });
  const again = repeat(9, "BINGET", 1, "BINGET", 0, "REDUCE", "POP");
  const loader = global("torch.storage._load_from_bytes");
  const value = assemble(binary(file), "TUPLE1", "BINPUT", 0, "POP", loader, "BINPUT", 1, again);
  const limit = { limit: "MAX_NESTED_OPCODES" };
  await assert.rejects(openPickleOf(value), raises("LIMIT_EXCEEDED", /too many opcodes/, limit));
});

const BAD: Record<string, [file: Uint8Array, code: Parameters<typeof raises>[0], message: RegExp]> = {
  "a ZIP archive": [torchFile({}), "UNSUPPORTED", /not a PyTorch file of the kind before 1\.6/],
  "another pickle": [pickleOf(1), "UNSUPPORTED", /not a PyTorch file/],
  nothing: [new Uint8Array(0), "UNSUPPORTED", /not a PyTorch file/],
  "a count that is wrong": [legacyFile({ storages: [[13, data(48)]] }), "INVALID_ARCHIVE", /13 elements/],
  "a storage that is cut": [legacyFile({ storages: [[12, data(40)]] }), "INVALID_ARCHIVE", /end at byte/],
  "something to run": [legacyFile({ object: global("os.system") }), "FORBIDDEN_GLOBAL", /os\.system/],
};

for (const [what, [file, code, message]] of Object.entries(BAD)) {
  test(`a nested file is refused: ${what}`, async () => {
    await assert.rejects(openPickleOf({ x: load(file) }), raises(code, message));
  });
}

test("what is no bytes stays a call that nobody knows", async () => {
  const value = { x: tensor({ storage: call("torch.storage._load_from_bytes", 5) }) };
  await assert.rejects(openPickleOf(value), raises("FORBIDDEN_GLOBAL", /_load_from_bytes/));
});

test("a plain pickle that is no more than one", async () => {
  const good = pickleOf({ x: plainTensor(STORAGE) });
  await assert.rejects(
    openTorch(fromBytes(concat([good, good]))),
    raises("INVALID_PICKLE", /something follows/, { at: good.length }),
  );
  await assert.rejects(openTorch(fromBytes(good.subarray(0, -1))), raises("INVALID_PICKLE"));
  await assert.rejects(openPickleOf({ lr: 0 }), raises("TENSOR_NOT_FOUND"));
  await assert.rejects(openPickleOf({ x: tensor() }), raises("INVALID_PICKLE", /outside of the pickle/));
  const endless = {
    size: 2 ** 30,
    async read(_offset: number, length: number) {
      const head = new Uint8Array(length);
      head.set(good.subarray(0, length));
      return head;
    },
  };
  await assert.rejects(openTorch(endless), raises("LIMIT_EXCEEDED", /pickle has/));
});

test("arrays between the parts of a pickle, as joblib writes them, are named", async () => {
  const wrapper = assemble(global("joblib.numpy_pickle.NumpyArrayWrapper"), "EMPTY_TUPLE", "NEWOBJ");
  await assert.rejects(
    openPickleOf({ x: wrapper }),
    raises("UNSUPPORTED", /joblib has put NumPy arrays/, { kind: "joblib" }),
  );
});
