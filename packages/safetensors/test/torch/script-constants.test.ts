import assert from "node:assert/strict";
import { test } from "node:test";
import { SafetensorsError } from "../../src/errors.ts";
import { MAX_PICKLE_BYTES } from "../../src/limits.ts";
import { fromBytes } from "../../src/source/memory.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { openTorch, type TorchOptions } from "../../src/torch/index.ts";
import { raises } from "../support.ts";
import { sparseZip } from "../zip/zip-builder.ts";
import { pickleOf } from "./containers.ts";
import { assemble } from "./pickle/assembler.ts";
import { call, global, type Plain, push, storage, tensor, torchFile, tuple } from "./torch-file.ts";

const bytes = (value: number) => new Uint8Array(48).fill(value);

/** An archive of TorchScript: the attributes of the module, its constants, and what else is in it. */
function archive(
  attributes: { [name: string]: Plain },
  constants: Uint8Array | string,
  more: Readonly<Record<string, Uint8Array | undefined>> = {},
): Uint8Array<ArrayBuffer> {
  const module = assemble(global("__torch__.Net"), "EMPTY_TUPLE", "NEWOBJ", push(attributes), "BUILD");
  return torchFile({
    "data.pkl": pickleOf(module),
    "constants.pkl": constants,
    "data/0": bytes(1),
    "constants/0": bytes(2),
    "constants/1": bytes(3),
    ...more,
  });
}

const other = () => tensor({ storage: storage("torch.FloatStorage", "1") });

const TWO = pickleOf(tuple(tensor(), other()));

const open = (file: Uint8Array<ArrayBuffer>, options: TorchOptions = {}) =>
  openTorch(fromBytes(file), options);

/** The names, each with the first byte of the data. */
async function found(file: Uint8Array<ArrayBuffer>, options: TorchOptions = {}): Promise<string[]> {
  const handles = [...(await open(file, options))];
  return Promise.all(handles.map(async (tensor) => `${tensor.name} ${(await tensor.bytes())[0]}`));
}

test("a frozen module has its weights in the constants", async () => {
  const frozen = archive({ training: false }, TWO);
  assert.deepEqual(await found(frozen), ["CONSTANTS.c0 2", "CONSTANTS.c1 3"]);
  const { report } = await open(frozen);
  assert.deepEqual([report.container, report.tensorsOutside.count], ["", 0]);
  assert.ok(report.globals.some(({ name, called }) => name === "torch._utils._rebuild_tensor_v2" && called));
});

test("storages of a frozen module for mobile devices have another kind of name", async () => {
  const constants = pickleOf(tuple(tensor({ storage: storage("torch.FloatStorage", "0.storage") })));
  assert.deepEqual(await found(archive({}, constants, { "constants/0.storage": bytes(5) })), [
    "CONSTANTS.c0 5",
  ]);
});

test("constants beside weights are told, and taken if everything is wanted, or they are named", async () => {
  const file = archive({ weight: tensor(), inner: { bias: tensor() } }, TWO);
  assert.deepEqual(await found(file), ["weight 1", "inner.bias 1"]);
  const { report } = await open(file);
  assert.deepEqual(report.tensorsOutside, {
    count: 2,
    listed: [
      { path: "CONSTANTS.c0", kind: "tensor" },
      { path: "CONSTANTS.c1", kind: "tensor" },
    ],
  });
  const all = ["weight 1", "inner.bias 1", "CONSTANTS.c0 2", "CONSTANTS.c1 3"];
  assert.deepEqual((await found(file, { flatten: true })).sort(), all.sort());
  assert.deepEqual((await found(file, { key: "" })).sort(), all);
  assert.deepEqual(await found(file, { key: "CONSTANTS" }), ["c0 2", "c1 3"]);
  assert.deepEqual(await found(file, { key: "inner" }), ["bias 1"]);
  assert.equal((await open(file, { key: "inner" })).report.tensorsOutside.count, 3);
});

test("without constants, and where the module is no object, nothing is different", async () => {
  const none = archive({ weight: tensor() }, pickleOf(tuple()));
  assert.equal((await open(none)).report.tensorsOutside.count, 0);
  await assert.rejects(open(none, { key: "CONSTANTS" }), raises("TENSOR_NOT_FOUND"));
  await assert.rejects(open(archive({}, pickleOf(tuple()))), raises("TENSOR_NOT_FOUND", /no tensors/));
  const list = archive({}, TWO, { "data.pkl": pickleOf([tensor()]) });
  assert.deepEqual(await found(list), ["0 1"]);
});

const DAMAGED: Readonly<Record<string, readonly [constants: Uint8Array | string, RegExp]>> = {
  "no pickle": ["no pickle", /constants\.pkl: /],
  "no tuple": [pickleOf([tensor()]), /constants\.pkl: .* list, no tuple/],
  "more than a pickle": [assemble(TWO, "STOP"), /constants\.pkl: bytes follow/],
  "a name that runs": [
    pickleOf(tuple(call("os.system", "x"))),
    /constants\.pkl: the file asks for "os\.system"/,
  ],
};

for (const [what, [constants, reason]] of Object.entries(DAMAGED)) {
  test(`damaged constants are an error only where they are wanted: ${what}`, async () => {
    const file = archive({ weight: tensor() }, constants);
    assert.deepEqual(await found(file), ["weight 1"]);
    const [note] = (await open(file)).report.tensorsOutside.listed;
    assert.equal(note?.path, "CONSTANTS");
    assert.match(note.kind, /^constants that cannot be read: /);
    assert.match(note.kind, reason);
    for (const options of [{ flatten: true }, { key: "" }, { key: "CONSTANTS" }, { key: "CONSTANTS.c0" }]) {
      await assert.rejects(open(file, options), reason);
    }
    await assert.rejects(open(archive({}, constants)), reason);
  });
}

test("a missing storage of a constant is an error only where it is wanted", async () => {
  const file = archive({ weight: tensor() }, TWO, { "constants/1": undefined, "data/1": bytes(9) });
  assert.deepEqual(await found(file), ["weight 1"]);
  await assert.rejects(
    open(file, { flatten: true }),
    raises("INVALID_ARCHIVE", /tensor "CONSTANTS\.c1": the archive has no record "constants\/1"/),
  );
});

test("a failing source is no damaged file", async () => {
  const file = archive({ weight: tensor() }, TWO);
  const at = Buffer.from(file).indexOf(Buffer.from(TWO));
  const whole = fromBytes(file);
  const failing: ByteSource = {
    size: whole.size,
    read: async (offset, length, options) => {
      if (offset === at) throw new SafetensorsError("IO", "gone");
      return whole.read(offset, length, options);
    },
  };
  await assert.rejects(openTorch(failing), raises("IO", /gone/));
});

test("a packed object among the constants is told, and refused where it is wanted", async () => {
  const packed = assemble(
    global("__torch__.torch.classes.quantized.LinearPackedParamsBase"), "EMPTY_TUPLE", "NEWOBJ",
    tuple(tensor(), null), "BUILD",
  ); // biome-ignore format: a line for the object, a line for its state
  const file = archive({ weight: tensor() }, pickleOf(tuple(3, packed)));
  const [{ path, kind } = { path: "", kind: "" }] = (await open(file)).report.tensorsOutside.listed;
  assert.deepEqual([path, /with tensors/.test(kind)], ["CONSTANTS.c1", true]);
  await assert.rejects(
    open(archive({}, pickleOf(tuple(3, packed)))),
    raises("UNSUPPORTED", /"CONSTANTS\.c1\.state" is packed in an object/),
  );
});

test("an attribute of the same name is not mistaken for the constants", async () => {
  const file = archive({ weight: tensor(), CONSTANTS: { c0: tensor() } }, TWO);
  assert.deepEqual(await found(file), ["weight 1", "CONSTANTS.c0 1"]);
  await assert.rejects(open(file, { flatten: true }), raises("AMBIGUOUS", /attribute CONSTANTS/));
  const alone = archive({ CONSTANTS: { c0: tensor() } }, pickleOf(tuple()));
  assert.deepEqual(await found(alone, { key: "CONSTANTS" }), ["c0 1"]);
});

test("both pickles together have one limit, which is known before the second is read", async () => {
  const module = pickleOf(
    assemble(global("__torch__.Net"), "EMPTY_TUPLE", "NEWOBJ", push({ w: tensor() }), "BUILD"),
  );
  const member = (name: string, data: Uint8Array | number) => ({ name: `m/${name}`, data });
  const source = sparseZip([
    member("version", new TextEncoder().encode("3\n")),
    member("data.pkl", module),
    member("data/0", bytes(1)),
    member("constants.pkl", MAX_PICKLE_BYTES),
  ]);
  const { report } = await openTorch(source);
  assert.match(report.tensorsOutside.listed[0]!.kind, /constants\.pkl has 536870912 bytes/);
});
