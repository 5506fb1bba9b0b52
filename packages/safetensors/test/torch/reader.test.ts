import assert from "node:assert/strict";
import { test } from "node:test";
import { open } from "../../src/checkpoint/open.ts";
import type { ErrorCode } from "../../src/errors.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { openTorch, torchReader } from "../../src/torch/index.ts";
import { openZip } from "../../src/zip/archive.ts";
import { fixture } from "../fixtures.ts";
import { concat, raises, stridedViewOf } from "../support.ts";
import { buildZip, type Member } from "../zip/zip-builder.ts";
import { tarFile } from "./containers.ts";
import { assemble, uint } from "./pickle/assembler.ts";
import {
  call,
  global,
  openPickle,
  pickleFile,
  push,
  type Records,
  storage,
  strided,
  tensor,
  tensorV3,
  torchFile,
  tuple,
} from "./torch-file.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const PICKLE = assemble("PROTO", 2, push({ x: tensor() }), "STOP");
const GOOD: Records = { "data.pkl": PICKLE, "data/0": new Uint8Array(48) };

function openFile(records: Records, root?: string, extra?: readonly Member[]) {
  return openTorch(fromBytes(torchFile(records, root, extra)));
}

test("a file made by hand opens; its tensors are views of the archive", async () => {
  const data = Uint8Array.from({ length: 48 }, (_, index) => index);
  const file = torchFile({ ...GOOD, "data/0": data });
  const checkpoint = await openTorch(fromBytes(file));
  const x = checkpoint.get("x");
  assert.equal(checkpoint.format, "torch");
  assert.deepEqual([x.dtype, x.shape, stridedViewOf(x).strides], ["F32", [3, 4], [4, 1]]);
  const place = stridedViewOf(x).bitOffset / 8;
  assert.deepEqual(file.subarray(place, place + 48), data);
  assert.deepEqual(await x.bytes(), data);
  const { root, protocol, container } = checkpoint.report;
  assert.deepEqual({ root, protocol, container }, { root: "model", protocol: 2, container: "" });
});

test("closing the checkpoint closes the source", async () => {
  let closed = 0;
  const source = { ...fromBytes(torchFile(GOOD)), close: () => void closed++ };
  await (await openTorch(source)).close();
  assert.equal(closed, 1);
});

test("the signal reaches every read", async () => {
  const controller = new AbortController();
  const memory = fromBytes(torchFile(GOOD));
  const signals = new Set<AbortSignal | undefined>();
  const source = {
    size: memory.size,
    read(offset: number, length: number, options?: { signal?: AbortSignal | undefined }) {
      signals.add(options?.signal);
      return memory.read(offset, length);
    },
  };
  await openTorch(source, { signal: controller.signal });
  assert.deepEqual([...signals], [controller.signal]);
});

test("torch tells by the content what a file is, and so does its reader", async () => {
  const legacy = fixture("torch/legacy.pt");
  const tar = tarFile([{ name: "sys_info", data: bytes("x") }]);
  const npz = buildZip([{ name: "a/b.npy", data: bytes("x") }]);
  const flat = buildZip([{ name: "notes.txt", data: bytes("x") }]);
  const cases: [Uint8Array, boolean][] = [
    [torchFile(GOOD), true],
    [legacy, true],
    [tar, true],
    [fixture("torch/compressed.pt"), true],
    [npz, false],
    [flat, false],
    [fixture("torch/plain-pickle.pt"), true],
    [fixture("torch/pickle-0.pt"), true],
    [fixture("torch/legacy-protocol-1.pt"), true],
    [fixture("torch/gzip.pt"), true],
    [fixture("torch/tar-properties.pt"), true],
    [tarFile([{ name: "notes.txt", data: bytes("x") }]), false],
    [new Uint8Array(0), false],
    [bytes("PK\x03\x04"), false],
  ];
  for (const [file, expected] of cases) {
    assert.equal(torchReader.recognises(file.subarray(0, 65_536)), expected);
  }
  for (const file of [new Uint8Array(0), bytes("hello"), flat, npz]) {
    await assert.rejects(openTorch(fromBytes(file)), raises("INVALID_ARCHIVE"));
  }
  assert.equal((await open(torchFile(GOOD), { readers: [torchReader] })).format, "torch");
});

const BAD_ARCHIVES: Record<
  string,
  [records: Records, code: "INVALID_ARCHIVE" | "UNSUPPORTED", message: RegExp, extra?: Member[]]
> = {
  "no pickle": [{}, "INVALID_ARCHIVE", /no record "data\.pkl"/],
  "a record beside the folder": [
    GOOD,
    "INVALID_ARCHIVE",
    /"evil" beside the folder "model"/,
    [{ name: "evil" }],
  ],
  "a second folder": [GOOD, "INVALID_ARCHIVE", /"model2\/x" beside/, [{ name: "model2/x" }]],
  "records that differ by case only": [
    { ...GOOD, "DATA/0": new Uint8Array(48) },
    "INVALID_ARCHIVE",
    /upper and lower case/,
  ],
  "a big-endian TorchScript archive": [
    { ...GOOD, byteorder: "big", "constants.pkl": "x" },
    "UNSUPPORTED",
    /big-endian TorchScript/,
  ],
  "a byte order that is found by PyTorch only": [
    { ...GOOD, BYTEORDER: "big", byteorder: undefined },
    "INVALID_ARCHIVE",
    /would take the record "model\/BYTEORDER" for "model\/byteorder"/,
  ],
  "an unknown byte order": [
    { ...GOOD, byteorder: "little\n" },
    "INVALID_ARCHIVE",
    /the byte order is "little\\n"/,
  ],
  "version 0": [{ ...GOOD, version: "0\n" }, "UNSUPPORTED", /version/],
  "version 11": [{ ...GOOD, version: "11\n" }, "UNSUPPORTED", /version/],
  "a version that is no number": [{ ...GOOD, version: "three" }, "UNSUPPORTED", /version "three"/],
  "a version elsewhere that counts": [{ ...GOOD, ".data/version": "99" }, "UNSUPPORTED", /version "99"/],
  "a package": [
    { ".data/extern_modules": "x" },
    "UNSUPPORTED",
    /a package of torch\.package: load the model/,
  ],
  "an exported program": [{ archive_format: "pt2" }, "UNSUPPORTED", /an exported program \(\.pt2\): load it/],
  "TorchScript before 1.4": [{ "model.json": "{}" }, "UNSUPPORTED", /TorchScript archive of PyTorch 1\.3/],
  "a missing storage": [
    { "data.pkl": PICKLE },
    "INVALID_ARCHIVE",
    /tensor "x": the archive has no record "data\/0"/,
  ],
  "a storage that is too short": [
    { ...GOOD, "data/0": new Uint8Array(47) },
    "INVALID_ARCHIVE",
    /tensor "x": storage 0 has 47 bytes/,
  ],
  "a storage that is too long": [
    { ...GOOD, "data/0": new Uint8Array(49) },
    "INVALID_ARCHIVE",
    /the pickle says 48/,
  ],
};

for (const [what, [records, code, message, extra]] of Object.entries(BAD_ARCHIVES)) {
  test(`refused: ${what}`, async () => {
    await assert.rejects(openFile(records, "model", extra), raises(code, message));
  });
}

test("refused: no version at all", async () => {
  const stored = (name: string, data: Uint8Array): Member => ({ name: `m/${name}`, data });
  const pickle = stored("data.pkl", PICKLE);
  await assert.rejects(
    openTorch(fromBytes(buildZip([pickle]))),
    raises("INVALID_ARCHIVE", /no record "version"/),
  );
});

test("the version may have no line break, and lie in .data; the byte order may be missing", async () => {
  await openFile({ ...GOOD, version: "10" });
  await openFile({ ...GOOD, ".data/version": "2", version: "99" });
  const members = [
    ["data.pkl", PICKLE],
    ["version", bytes("3\n")],
    ["data/0", new Uint8Array(48)],
  ] as const;
  await openTorch(fromBytes(buildZip(members.map(([name, data]) => ({ name: `m/${name}`, data })))));
});

test("refused: a text record that is too long", async () => {
  const limit = { limit: "MAX_TEXT_RECORD_BYTES" };
  await assert.rejects(
    openFile({ ...GOOD, version: "1".repeat(65) }),
    raises("LIMIT_EXCEEDED", /version/, limit),
  );
});

test("refused: bytes behind the pickle", async () => {
  const longer = { ...GOOD, "data.pkl": concat([PICKLE, bytes("x")]) };
  await assert.rejects(openFile(longer), raises("INVALID_PICKLE", /bytes follow/, { at: PICKLE.length }));
});

const BAD_STORAGES: Record<string, [value: Uint8Array, message: RegExp]> = {
  "a persistent id that is text": [assemble(push("storage"), "BINPERSID"), /not that of a storage/],
  "a persistent id of another kind": [assemble(push("x"), "TUPLE1", "BINPERSID"), /not that of a storage/],
  "a persistent id of six parts": [
    assemble(
      "MARK",
      push("storage"),
      push(null),
      push("0"),
      push("cpu"),
      push(1),
      push(null),
      "TUPLE",
      "BINPERSID",
    ),
    /not that of a storage/,
  ],
  "no class": [
    assemble(
      "MARK",
      push("storage"),
      push("torch.FloatStorage"),
      push("0"),
      push("cpu"),
      push(1),
      "TUPLE",
      "BINPERSID",
    ),
    /no class/,
  ],
  "a key that is a path": [storage("torch.FloatStorage", "../x"), /key of a storage/],
  "a key with a line break": [storage("torch.FloatStorage", "0\n"), /key of a storage/],
  "an empty key": [storage("torch.FloatStorage", ""), /key of a storage/],
  "a key that is an int": [storage("torch.FloatStorage", 0), /key of a storage/],
  "a negative length": [storage("torch.FloatStorage", "0", -1), /impossible length/],
  "a length that is True": [storage("torch.FloatStorage", "0", true), /impossible length/],
  "a length of 2^53 bytes": [storage("torch.FloatStorage", "0", 2 ** 51), /impossible length/],
  "two lengths": [
    push([storage(), storage("torch.FloatStorage", "0", 11)]),
    /storage 0 is described in two ways/,
  ],
  "two dtypes": [push([storage(), storage("torch.IntStorage")]), /storage 0 is described in two ways/],
};

for (const [what, [value, message]] of Object.entries(BAD_STORAGES)) {
  test(`refused: a storage with ${what}`, async () => {
    await assert.rejects(openPickle(value), raises("INVALID_PICKLE", message));
  });
}

test("refused: a storage class that is none", async () => {
  const value = tensor({ storage: storage("company.FloatStorage") });
  await assert.rejects(
    openPickle(value),
    raises("FORBIDDEN_GLOBAL", /"company\.FloatStorage" is not a storage class/),
  );
});

test("keys and tags of Python 2 are bytes", async () => {
  const word = (text: string) => assemble("SHORT_BINSTRING", text.length, `'${text}`);
  const old = assemble(
    "MARK",
    word("storage"),
    assemble("GLOBAL", "'torch\nFloatStorage\n"),
    word("0"),
    word("cpu"),
    push(12),
    "TUPLE",
    "BINPERSID",
  );
  const checkpoint = await openPickle(push(new Map([[word("x"), tensor({ storage: old })]])));
  assert.deepEqual([...checkpoint.keys()], ["x"]);
});

type Case = [value: Uint8Array, dtype: string, shape: number[], strides: number[], byteOffset: number];

/** Tensors over a storage of 48 bytes. */
const TENSORS: Record<string, Case> = {
  "of the whole storage": [tensor(), "F32", [3, 4], [4, 1], 0],
  "with an offset": [tensor({ offset: 4, size: [2, 4] }), "F32", [2, 4], [4, 1], 16],
  "that is a transpose": [tensor({ size: [4, 3], stride: [1, 4] }), "F32", [4, 3], [1, 4], 0],
  "that is an expansion": [tensor({ size: [1000, 12], stride: [0, 1] }), "F32", [1000, 12], [0, 1], 0],
  "without dimensions": [tensor({ size: [], stride: [], offset: 11 }), "F32", [], [], 44],
  "without elements, anywhere": [tensor({ size: [0, 4], offset: 99 }), "F32", [0, 4], [4, 1], 0],
  "in the first form": [call("torch._utils._rebuild_tensor", ...strided()), "F32", [3, 4], [4, 1], 0],
  "with a torch.Size": [
    call(
      "torch._utils._rebuild_tensor_v2",
      storage(),
      0,
      call("torch.Size", tuple(12)),
      tuple(1),
      false,
      null,
    ),
    "F32",
    [12],
    [1],
    0,
  ],
  "with metadata that says nothing": [
    call("torch._utils._rebuild_tensor_v2", ...strided(), false, null, {}),
    "F32",
    [3, 4],
    [4, 1],
    0,
  ],
  "in a parameter": [call("torch._utils._rebuild_parameter", tensor(), true, null), "F32", [3, 4], [4, 1], 0],
  "in a parameter with state": [
    call("torch._utils._rebuild_parameter_with_state", tensor(), true, null, { tag: 1 }),
    "F32",
    [3, 4],
    [4, 1],
    0,
  ],
  "in a Parameter": [call("torch.nn.parameter.Parameter", tensor(), false), "F32", [3, 4], [4, 1], 0],
  "with attributes": [
    call(
      "torch._tensor._rebuild_from_type_v2",
      global("torch._utils._rebuild_tensor"),
      global("torch.Tensor"),
      tuple(...strided()),
      { note: 1 },
    ),
    "F32",
    [3, 4],
    [4, 1],
    0,
  ],
  "of the GPU": [tensor({ storage: storage("torch.cuda.HalfStorage", "0", 24) }), "F16", [3, 4], [4, 1], 0],
  "over untyped bytes": [
    tensor({ storage: storage("torch.UntypedStorage", "0", 48) }),
    "U8",
    [3, 4],
    [4, 1],
    0,
  ],
  "with a dtype of its own": [tensorV3("uint16", { offset: 2 }), "U16", [3, 4], [4, 1], 4],
  "of pairs of 4 bits": [tensorV3("float4_e2m1fn_x2", { offset: 3 }), "F4", [3, 8], [8, 1], 3],
  "of one pair in a row": [
    tensorV3("float4_e2m1fn_x2", { size: [3, 1], stride: [4, 7] }),
    "F4",
    [3, 2],
    [8, 1],
    0,
  ],
  "from another device": [
    call(
      "torch._utils._rebuild_device_tensor_from_cpu_tensor",
      tensor(),
      global("torch.float32"),
      "xla:0",
      false,
    ),
    "F32",
    [3, 4],
    [4, 1],
    0,
  ],
};

for (const [what, [value, dtype, shape, strides, byteOffset]] of Object.entries(TENSORS)) {
  test(`a tensor ${what}`, async () => {
    const source = fromBytes(pickleFile(push({ x: value })));
    const view = stridedViewOf((await openTorch(source)).get("x"));
    assert.deepEqual([view.dtype, view.shape, view.strides], [dtype, shape, strides]);
    const archive = await openZip(source);
    const record = await archive.dataOffset(archive.find("model/data/0")!);
    assert.equal(view.bitOffset, 8 * (record + byteOffset));
  });
}

/** Tensors that are refused, but only where they are wanted. */
const BAD_TENSORS: Record<string, [value: Uint8Array, code: ErrorCode, message: RegExp]> = {
  "ends behind its storage": [
    tensor({ offset: 1 }),
    "INVALID_TENSOR",
    /ends at element 13 of storage "0", which has 12/,
  ],
  "begins behind its storage": [
    tensor({ offset: 12, size: [1], stride: [1] }),
    "INVALID_TENSOR",
    /ends at element 13/,
  ],
  "strides over its storage": [tensor({ stride: [5, 1] }), "INVALID_TENSOR", /ends at element 14/],
  "has a size near 2^53": [tensor({ size: [2 ** 53 - 1], stride: [0] }), "INVALID_TENSOR", /impossible size/],
  "has sizes whose product overflows": [
    tensor({ size: [2 ** 27, 2 ** 27], stride: [0, 0] }),
    "INVALID_TENSOR",
    /impossible size/,
  ],
  "has impossible sizes beside a zero": [
    tensor({ size: [0, 2 ** 40, 2 ** 40], stride: [1, 1, 1] }),
    "INVALID_TENSOR",
    /impossible size/,
  ],
  "has a stride near 2^53": [
    tensor({ size: [2, 2], stride: [2 ** 53 - 1, 2 ** 53 - 1] }),
    "INVALID_TENSOR",
    /ends at element/,
  ],
  "has a negative offset": [tensor({ offset: -1 }), "INVALID_TENSOR", /non-negative ints/],
  "has a negative size": [tensor({ size: [-3, -4] }), "INVALID_TENSOR", /non-negative ints/],
  "has a negative stride": [tensor({ stride: [-4, 1] }), "INVALID_TENSOR", /non-negative ints/],
  "has an offset of 2^60": [
    tensor({ offset: assemble("LONG1", 8, uint(8, 2 ** 60)) }),
    "INVALID_TENSOR",
    /non-negative ints/,
  ],
  "has a float as a size": [
    tensor({ size: [assemble("BINFLOAT", 0x40, 0x08, 0, 0, 0, 0, 0, 0), 4] }),
    "INVALID_TENSOR",
    /non-negative ints/,
  ],
  "has True as a size": [tensor({ size: [true, 4] }), "INVALID_TENSOR", /non-negative ints/],
  "has too few strides": [tensor({ stride: [1] }), "INVALID_TENSOR", /2 sizes and 1 strides/],
  "has 65 dimensions": [
    tensor({ size: Array(65).fill(1), stride: Array(65).fill(1) }),
    "INVALID_TENSOR",
    /65 dimensions/,
  ],
  "has a list as its size": [
    call("torch._utils._rebuild_tensor_v2", storage(), 0, [12], tuple(1), false, null),
    "INVALID_TENSOR",
    /non-negative ints/,
  ],
  "has no storage": [tensor({ storage: 5 }), "INVALID_TENSOR", /has no storage/],
  "has too few arguments": [
    call("torch._utils._rebuild_tensor_v2", storage()),
    "INVALID_TENSOR",
    /number of arguments/,
  ],
  "has too many arguments": [
    call("torch._utils._rebuild_tensor", ...strided(), 1),
    "INVALID_TENSOR",
    /number of arguments/,
  ],
  "has a dtype that is none": [
    call("torch._utils._rebuild_tensor_v3", ...strided(), false, null, "float32"),
    "INVALID_TENSOR",
    /dtype that is not one/,
  ],
  "has a dtype and a typed storage": [
    tensorV3("uint16", { storage: storage() }),
    "INVALID_TENSOR",
    /typed storage/,
  ],
  "ends in the middle of an element": [
    tensorV3("uint32", { storage: storage("torch.UntypedStorage", "0", 47), size: [12], stride: [1] }),
    "INVALID_TENSOR",
    /which has 11/,
  ],
  "is a parameter of text": [
    call("torch._utils._rebuild_parameter", "x", true, null),
    "INVALID_TENSOR",
    /not a tensor/,
  ],
  "has metadata that is text": [
    call("torch._utils._rebuild_tensor_v2", ...strided(), false, null, "conj"),
    "INVALID_TENSOR",
    /metadata/,
  ],
  "is conjugate and real": [
    call("torch._utils._rebuild_tensor_v2", ...strided(), false, null, { conj: true }),
    "INVALID_TENSOR",
    /is conjugate and of the dtype float32/,
  ],
  "is negative and has no sign": [
    call(
      "torch._utils._rebuild_tensor_v2",
      storage("torch.BoolStorage", "0", 48),
      0,
      tuple(48),
      tuple(1),
      false,
      null,
      {
        neg: true,
      },
    ),
    "UNSUPPORTED",
    /is a negative view of the dtype bool/,
  ],
  "is another lazy view": [
    call("torch._utils._rebuild_tensor_v2", ...strided(), false, null, { half: true }),
    "UNSUPPORTED",
    /lazy view \("half"\)/,
  ],
  "is said not to be negative, which PyTorch takes for the contrary": [
    call("torch._utils._rebuild_tensor_v2", ...strided(), false, null, { neg: false }),
    "UNSUPPORTED",
    /lazy view \("neg"\)/,
  ],
  "is conjugate by a number": [
    call("torch._utils._rebuild_tensor_v2", ...strided(), false, null, { conj: 1 }),
    "UNSUPPORTED",
    /lazy view \("conj"\)/,
  ],
  "is complex128": [
    tensor({ storage: storage("torch.ComplexDoubleStorage", "0", 3), size: [3], stride: [1] }),
    "UNSUPPORTED",
    /dtype complex128/,
  ],
  "is complex32": [tensorV3("complex32"), "UNSUPPORTED", /dtype complex32/],
  "is of odd bits": [tensorV3("uint3"), "UNSUPPORTED", /dtype uint3/],
  "is two values of 4 bits": [tensorV3("float4_e2m1fn_x2", { size: [], stride: [] }), "UNSUPPORTED", /4-bit/],
  "is quantized wrongly": [
    call("torch._utils._rebuild_qtensor", ...strided(), tuple()),
    "INVALID_TENSOR",
    /wrong arguments/,
  ],
  "is sparse in an unknown layout": [
    call("torch._utils._rebuild_sparse_tensor", 1, tuple()),
    "UNSUPPORTED",
    /sparse in an unknown layout/,
  ],
  "has no data": [
    call("torch._utils._rebuild_meta_tensor_no_storage", global("torch.float32"), tuple(1), tuple(1), false),
    "UNSUPPORTED",
    /meta/,
  ],
  "is of a subclass": [
    call(
      "torch._tensor._rebuild_from_type_v2",
      global("torch._utils._rebuild_tensor"),
      global("company.Special"),
      tuple(...strided()),
      null,
    ),
    "UNSUPPORTED",
    /the class "company\.Special"/,
  ],
  "is rebuilt by an unknown function": [
    call(
      "torch._tensor._rebuild_from_type_v2",
      global("company.build"),
      global("torch.Tensor"),
      tuple(...strided()),
      null,
    ),
    "FORBIDDEN_GLOBAL",
    /needs "company\.build"/,
  ],
  "is rebuilt from a type twice": [
    call(
      "torch._tensor._rebuild_from_type_v2",
      global("torch._tensor._rebuild_from_type_v2"),
      global("torch.Tensor"),
      tuple(),
      null,
    ),
    "INVALID_TENSOR",
    /twice/,
  ],
  "is rebuilt from a type by text": [
    call("torch._tensor._rebuild_from_type_v2", "f", "t", tuple(), null),
    "INVALID_TENSOR",
    /wrong arguments/,
  ],
  "had another dtype elsewhere": [
    call(
      "torch._utils._rebuild_device_tensor_from_cpu_tensor",
      tensor(),
      global("torch.float16"),
      "xla:0",
      false,
    ),
    "UNSUPPORTED",
    /another dtype/,
  ],
  "has a storage in a pickle of its own": [
    tensor({ storage: call("torch.storage._load_from_bytes", "x") }),
    "FORBIDDEN_GLOBAL",
    /_load_from_bytes/,
  ],
  "is made by an unknown function": [
    call("company.build", tensor()),
    "FORBIDDEN_GLOBAL",
    /"x" needs "company\.build"/,
  ],
  "is made of a storage by an unknown function": [
    call("company.build", { deep: [storage()] }),
    "FORBIDDEN_GLOBAL",
    /company\.build/,
  ],
};

for (const [what, [value, code, message]] of Object.entries(BAD_TENSORS)) {
  test(`refused: a tensor that ${what}`, async () => {
    const good = tensor({ storage: storage("torch.FloatStorage", "1") });
    const wanted = push({ good, x: value });
    await assert.rejects(openPickle(wanted), raises(code, message));
    const beside = push({ state_dict: { good }, x: value });
    assert.deepEqual([...(await openPickle(beside)).keys()], ["good"]);
  });
}

test("an error about a tensor names it", async () => {
  const details = { tensor: "a.x", global: "company.build" };
  const value = tensor({ storage: call("company.build") });
  await assert.rejects(
    openPickle(push({ y: tensor(), a: { x: value } })),
    raises("FORBIDDEN_GLOBAL", /tensor "a\.x"/, details),
  );
});
