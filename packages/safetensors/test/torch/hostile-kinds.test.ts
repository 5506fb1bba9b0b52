import assert from "node:assert/strict";
import { test } from "node:test";
import type { ErrorCode } from "../../src/errors.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { openTorch, type TorchCheckpoint, type TorchOptions } from "../../src/torch/index.ts";
import { range } from "../../src/view/index-items.ts";
import { raises } from "../support.ts";
import { assemble, name, uint } from "./pickle/assembler.ts";
import { call, global, type Plain, push, storage, tensor, torchFile, tuple } from "./torch-file.ts";

/** Storages: 12 floats, then those of the test, each as its own typed array. */
type Data = readonly (Float32Array | Float64Array | BigInt64Array | Int32Array | Uint8Array)[];

/** Opens a file with the value `{x: value}`, and reads all of it. */
async function read(value: Plain, data: Data, options: TorchOptions = {}): Promise<TorchCheckpoint> {
  const records = Object.fromEntries(
    data.map(({ buffer }, index) => [`data/${index}`, new Uint8Array(buffer as ArrayBuffer)]),
  );
  const file = torchFile({ "data.pkl": assemble("PROTO", 2, push({ x: value }), "STOP"), ...records });
  const checkpoint = await openTorch(fromBytes(file), options);
  for (const each of checkpoint) await each.bytes();
  return checkpoint;
}

const CLASSES = new Map<unknown, string>([
  [Float32Array, "Float"],
  [Float64Array, "Double"],
  [BigInt64Array, "Long"],
  [Int32Array, "Int"],
  [Uint8Array, "QUInt8"],
]);

/** The tensor of the storage with that number. */
function over(data: Data, index: number, size: readonly number[], stride?: readonly number[]): Uint8Array {
  const array = data[index]!;
  const steps = size.map((_, axis) => size.slice(axis + 1).reduce((product, each) => product * each, 1));
  const stored = storage(`torch.${CLASSES.get(array.constructor)}Storage`, String(index), array.length);
  return tensor({ storage: stored, size, stride: stride ?? steps });
}

const float = (value: number): Uint8Array => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, value);
  return assemble("BINFLOAT", bytes);
};

async function refuses(
  cases: Record<string, readonly [value: Plain, code: ErrorCode, message: RegExp]>,
  data: Data,
  options: TorchOptions,
): Promise<void> {
  for (const [what, [value, code, message]] of Object.entries(cases)) {
    await assert.rejects(read(value, data, options), raises(code, message), what);
  }
}

// ---- Quantized ------------------------------------------------------------------------------------------------------

const QUANTIZED: Data = [
  Uint8Array.of(0, 1, 2, 3, 4, 255),
  Float64Array.of(0.5, 2),
  BigInt64Array.of(1n, 2n),
];
const quantized = (quantizer: Plain, size = [2, 3], stride = [3, 1], kind = "QUInt8", length = 6) =>
  call(
    "torch._utils._rebuild_qtensor",
    storage(`torch.${kind}Storage`, "0", length),
    0,
    tuple(...size),
    tuple(...stride),
    quantizer,
    false,
    null,
  );
const perTensor = (...rest: readonly Plain[]) => tuple(global("torch.per_tensor_affine"), ...rest);
const perChannel = (...rest: readonly Plain[]) => tuple(global("torch.per_channel_affine"), ...rest);
const SCALES = over(QUANTIZED, 1, [2]);
const ZEROS = over(QUANTIZED, 2, [2]);

test("quantized tensors are refused unless an option says how to take them", async () => {
  const value = quantized(perTensor(float(0.5), 1));
  await assert.rejects(
    read(value, QUANTIZED),
    raises("UNSUPPORTED", /quantized to quint8.*"raw".*"dequantize"/),
  );
  const raw = await read(value, QUANTIZED, { quantized: "raw" });
  assert.deepEqual([...raw.keys()].sort(), ["x", "x.scale", "x.zero_point"]);
  assert.deepEqual(raw.report.remade.listed, [
    { path: "x", kind: "quantized to quint8 (per_tensor_affine)" },
  ]);
  const numbers = await read(value, QUANTIZED, { quantized: "dequantize" });
  assert.deepEqual([...(await numbers.get("x").toFloat32())], [-0.5, 0, 0.5, 1, 1.5, 127]);
});

test("scales may be lists, and are read per channel", async () => {
  const value = quantized(perChannel([float(0.5), float(2)], [1, 2], 0));
  const numbers = await read(value, QUANTIZED, { quantized: "dequantize" });
  assert.deepEqual([...(await numbers.get("x").toFloat32())], [-0.5, 0, 0.5, 2, 4, 506]);
  const part = await numbers.get("x").slice(1, 1).toFloat32();
  assert.deepEqual([...part], [4]);
});

test("wrong quantizers are refused", async () => {
  await refuses(
    {
      "no quantizer": [quantized(null), "INVALID_TENSOR", /wrong arguments/],
      "an empty one": [quantized(tuple()), "UNSUPPORTED", /unknown scheme/],
      "another scheme": [
        quantized(tuple(global("torch.per_tensor_symmetric"), float(1), 0)),
        "UNSUPPORTED",
        /unknown scheme/,
      ],
      "a scale that is text": [quantized(perTensor("1", 0)), "INVALID_TENSOR", /wrong quantizer/],
      "a zero point that is a float": [
        quantized(perTensor(float(1), float(0))),
        "INVALID_TENSOR",
        /wrong quantizer/,
      ],
      "too many values": [quantized(perTensor(float(1), 0, 0)), "INVALID_TENSOR", /wrong quantizer/],
      "scales of the wrong length": [
        quantized(perChannel(SCALES, ZEROS, 1)),
        "INVALID_TENSOR",
        /shape \[2\] for 3 channels/,
      ],
      "a list of the wrong length": [
        quantized(perChannel([float(1)], ZEROS, 0)),
        "INVALID_TENSOR",
        /shape \[1\] for 2/,
      ],
      "scales of two dimensions": [
        quantized(perChannel(over(QUANTIZED, 1, [2, 1]), ZEROS, 0)),
        "INVALID_TENSOR",
        /shape \[2,1\]/,
      ],
      "a negative axis": [quantized(perChannel(SCALES, ZEROS, -1)), "INVALID_TENSOR", /axis that it has not/],
      "an axis beyond the last": [
        quantized(perChannel(SCALES, ZEROS, 2)),
        "INVALID_TENSOR",
        /axis that it has not/,
      ],
      "an axis that is text": [
        quantized(perChannel(SCALES, ZEROS, "length")),
        "INVALID_TENSOR",
        /axis that it has not/,
      ],
      "scales that are quantized": [
        quantized(perChannel(over(QUANTIZED, 0, [2]), ZEROS, 0)),
        "INVALID_TENSOR",
        /wrong quantizer/,
      ],
      "more channels than anybody has": [
        quantized(
          perChannel(over(QUANTIZED, 1, [2 ** 25], [0]), over(QUANTIZED, 2, [2 ** 25], [0]), 0),
          [2 ** 25],
          [0],
        ),
        "UNSUPPORTED",
        /33554432 channels/,
      ],
      "integers behind the storage": [
        quantized(perTensor(float(1), 0), [3, 3], [3, 1]),
        "INVALID_TENSOR",
        /ends at element 9/,
      ],
      "integers of four bits": [
        quantized(perTensor(float(1), 0), [6], [1], "QUInt4x2"),
        "UNSUPPORTED",
        /quantized to the dtype quint4x2/,
      ],
      "integers that are floats": [
        quantized(perTensor(float(1), 0), [1], [1], "Float", 1),
        "UNSUPPORTED",
        /quantized to the dtype float32/,
      ],
    },
    QUANTIZED,
    { quantized: "dequantize" },
  );
});

// ---- Sparse ---------------------------------------------------------------------------------------------------------

const sparse = (layout: string, ...data: readonly Plain[]) =>
  call(
    "torch._utils._rebuild_sparse_tensor",
    call("torch.serialization._get_layout", `torch.${layout}`),
    tuple(...data),
  );
const SPARSE: Data = [
  Float32Array.of(1, 2, 3),
  BigInt64Array.of(0n, 2n, 2n, 1n, 0n, 1n),
  Int32Array.of(0, 1, 3, 2, 0, 1),
];
const VALUES = over(SPARSE, 0, [3]);
const COORDINATES = over(SPARSE, 1, [2, 3]);
const ROWS = over(SPARSE, 2, [3]);
const COLUMNS = tensor({ storage: storage("torch.IntStorage", "2", 6), offset: 3, size: [3], stride: [1] });
const dense = { sparse: "densify" } as const;

test("sparse tensors are refused unless an option says how to take them", async () => {
  const value = sparse("sparse_coo", COORDINATES, VALUES, tuple(3, 2), true);
  await assert.rejects(read(value, SPARSE), raises("UNSUPPORTED", /is sparse \(sparse_coo\).*"densify"/));
  const parts = await read(value, SPARSE, { sparse: "parts" });
  assert.deepEqual([...parts.keys()].sort(), ["x.indices", "x.size", "x.values"]);
  const whole = await read(value, SPARSE, dense);
  // Elements (0, 1), (2, 0) and (2, 1).
  assert.deepEqual([...(await whole.get("x").toFloat32())], [0, 1, 0, 0, 2, 3]);
  assert.deepEqual([...(await whole.get("x").slice(2).toFloat32())], [2, 3]);
  const rows = await read(sparse("sparse_csr", ROWS, COLUMNS, VALUES, tuple(2, 3)), SPARSE, dense);
  assert.deepEqual([...(await rows.get("x").toFloat32())], [0, 0, 1, 2, 3, 0]);
});

test("wrong sparse tensors are refused", async () => {
  const coo = (indices: Plain, values: Plain, size: Plain, ...more: readonly Plain[]) =>
    sparse("sparse_coo", indices, values, size, ...more);
  const csr = (rows: Plain, columns: Plain, values: Plain, size: Plain, ...more: readonly Plain[]) =>
    sparse("sparse_csr", rows, columns, values, size, ...more);
  await refuses(
    {
      "an index behind the end": [
        coo(COORDINATES, VALUES, tuple(2, 2)),
        "INVALID_TENSOR",
        /wrong index 2 on axis 0/,
      ],
      "an unknown layout": [
        sparse("strided", COORDINATES, VALUES, tuple(3, 2)),
        "UNSUPPORTED",
        /unknown layout/,
      ],
      "no size": [coo(COORDINATES, VALUES, null), "INVALID_TENSOR", /size/],
      "a negative size": [coo(COORDINATES, VALUES, tuple(-3, 2)), "INVALID_TENSOR", /size/],
      "an impossible size": [
        coo(COORDINATES, VALUES, tuple(2 ** 40, 2 ** 40)),
        "INVALID_TENSOR",
        /impossible size/,
      ],
      "too many arguments": [
        coo(COORDINATES, VALUES, tuple(3, 2), true, 1),
        "INVALID_TENSOR",
        /wrong sparse data/,
      ],
      "no indices": [coo(null, VALUES, tuple(3, 2)), "INVALID_TENSOR", /indices that are not a tensor/],
      "indices that are floats": [coo(VALUES, VALUES, tuple(3)), "INVALID_TENSOR", /tensor of integers/],
      "no values": [coo(COORDINATES, 5, tuple(3, 2)), "INVALID_TENSOR", /values that are not a tensor/],
      "too few values": [
        coo(COORDINATES, over(SPARSE, 0, [2]), tuple(3, 2)),
        "INVALID_TENSOR",
        /values of the shape \[2\]/,
      ],
      "more indices than dimensions": [
        coo(COORDINATES, VALUES, tuple(3)),
        "INVALID_TENSOR",
        /indices of the shape/,
      ],
      "indices of one dimension": [coo(ROWS, VALUES, tuple(3)), "INVALID_TENSOR", /indices of the shape/],
      "rows that are too short": [
        csr(ROWS, COLUMNS, VALUES, tuple(3, 3)),
        "INVALID_TENSOR",
        /compressed indices of the shape/,
      ],
      "columns of another length": [
        csr(ROWS, over(SPARSE, 2, [2]), VALUES, tuple(2, 3)),
        "INVALID_TENSOR",
        /values of the shape/,
      ],
      "a column behind the end": [
        csr(ROWS, COLUMNS, VALUES, tuple(2, 2)),
        "INVALID_TENSOR",
        /wrong index 2 on axis 1/,
      ],
      "rows that are not in order": [
        csr(COLUMNS, COLUMNS, VALUES, tuple(2, 3)),
        "INVALID_TENSOR",
        /not in order/,
      ],
      "one dimension": [csr(ROWS, COLUMNS, VALUES, tuple(3)), "INVALID_TENSOR", /indices of the shape/],
      "blocks that do not fit": [
        sparse("sparse_bsr", ROWS, COLUMNS, over(SPARSE, 0, [3, 1, 1], [1, 1, 1]), tuple(2, 3, 4)),
        "INVALID_TENSOR",
        /values of the shape/,
      ],
      "blocks of no size": [
        sparse("sparse_bsr", ROWS, COLUMNS, over(SPARSE, 0, [3, 0, 1]), tuple(2, 3)),
        "INVALID_TENSOR",
        /blocks of the shape \[0,1\]/,
      ],
    },
    SPARSE,
    dense,
  );
});

test("a large dense tensor of few elements takes no memory before it is read", async () => {
  const value = sparse(
    "sparse_coo",
    over(SPARSE, 1, [2, 0], [1, 1]),
    over(SPARSE, 0, [0]),
    tuple(2 ** 20, 2 ** 20),
  );
  const records = { "data/0": new Uint8Array(12), "data/1": new Uint8Array(48) };
  const file = torchFile({ "data.pkl": assemble("PROTO", 2, push({ x: value }), "STOP"), ...records });
  const checkpoint = await openTorch(fromBytes(file), dense);
  assert.equal(checkpoint.get("x").byteLength, 2 ** 42);
  assert.deepEqual([...(await checkpoint.get("x").slice(-1, range(-3, null)).toFloat32())], [0, 0, 0]);
});

// ---- NumPy ----------------------------------------------------------------------------------------------------------

const dtype = (code: Plain, order: Plain = "<", ...rest: readonly Plain[]) =>
  assemble(
    call("numpy.dtype", code, false, true),
    push(tuple(3, order, ...(rest.length > 0 ? rest : [null, null, null]), -1, -1, 0)),
    "BUILD",
  );
const bytesOf = (length: number) => assemble("BINBYTES", uint(4, length), new Uint8Array(length));
const array = (...state: readonly Plain[]) =>
  assemble(
    call("numpy.core.multiarray._reconstruct", global("numpy.ndarray"), tuple(0), "b"),
    push(tuple(...state)),
    "BUILD",
  );

test("arrays that are described wrongly are refused", async () => {
  await refuses(
    {
      "data that is too short": [
        array(1, tuple(3), dtype("f4"), false, bytesOf(11)),
        "INVALID_TENSOR",
        /12 bytes with 11/,
      ],
      "data that is too long": [
        array(1, tuple(3), dtype("f4"), false, bytesOf(13)),
        "INVALID_TENSOR",
        /12 bytes with 13/,
      ],
      "a negative shape": [array(1, tuple(-3), dtype("f4"), false, bytesOf(12)), "INVALID_TENSOR", /shape/],
      "a huge shape": [
        array(1, tuple(2 ** 50, 2 ** 50), dtype("f4"), false, bytesOf(0)),
        "INVALID_TENSOR",
        /impossible size/,
      ],
      "a shape that is no tuple": [array(1, [3], dtype("f4"), false, bytesOf(12)), "INVALID_TENSOR", /shape/],
      "no dtype": [array(1, tuple(3), "f4", false, bytesOf(12)), "INVALID_TENSOR", /dtype that is not one/],
      "no byte order": [
        array(1, tuple(3), dtype("f4", 5), false, bytesOf(12)),
        "INVALID_TENSOR",
        /no byte order/,
      ],
      "a dtype without a state": [
        array(1, tuple(3), call("numpy.dtype", "f4", false, true), false, bytesOf(12)),
        "INVALID_TENSOR",
        /no byte order/,
      ],
      "a structured dtype": [
        array(1, tuple(3), dtype("V4", "|", null, tuple("a"), {}), false, bytesOf(12)),
        "UNSUPPORTED",
        /type "V4"/,
      ],
      "a dtype that repeats another": [
        array(1, tuple(3), dtype("f4", "<", tuple(dtype("f4"), tuple(2)), null, null), false, bytesOf(12)),
        "UNSUPPORTED",
        /type "f4"/,
      ],
      "a long float": [array(1, tuple(1), dtype("f16"), false, bytesOf(16)), "UNSUPPORTED", /type "f16"/],
      "data that is a list": [
        array(1, tuple(1), dtype("f4"), false, [1]),
        "INVALID_TENSOR",
        /data is of the type list/,
      ],
      "no state": [
        call("numpy.core.multiarray._reconstruct", global("numpy.ndarray"), tuple(0), "b"),
        "INVALID_TENSOR",
        /wrong state/,
      ],
      "a subclass": [
        call("numpy.core.multiarray._reconstruct", global("company.Array"), tuple(0), "b"),
        "UNSUPPORTED",
        /class "company\.Array"/,
      ],
      "another order": [
        call("numpy.core.numeric._frombuffer", bytesOf(4), dtype("f4"), tuple(1), "K"),
        "INVALID_TENSOR",
        /wrong arguments/,
      ],
      "a tensor on another device without an array": [
        call(
          "torch._utils._rebuild_device_tensor_from_numpy",
          tensor(),
          global("torch.float32"),
          "xla:0",
          false,
        ),
        "INVALID_TENSOR",
        /not a NumPy array/,
      ],
      "a tensor on another device of another dtype": [
        call(
          "torch._utils._rebuild_device_tensor_from_numpy",
          array(1, tuple(3), dtype("f4"), false, bytesOf(12)),
          global("torch.float16"),
          "xla:0",
          false,
        ),
        "UNSUPPORTED",
        /another dtype/,
      ],
    },
    [new Float32Array(12)],
    {},
  );
});

test("arrays are looked for only where there are no tensors", async () => {
  const weight = array(1, tuple(3), dtype("f4"), false, bytesOf(12));
  const data = [new Float32Array(12)];
  const both = await read({ model: { a: tensor() }, random: [weight] }, data);
  assert.deepEqual([both.report.container, ...both.keys()], ["x.model", "a"]);
  const beside = await read({ a: tensor(), b: weight }, data);
  assert.deepEqual([...beside.keys()].sort(), ["a", "b"]);
  assert.deepEqual(beside.report.remade.listed, [{ path: "b", kind: "NumPy array" }]);
  const alone = await read({ params: { w: weight }, epoch: 3 }, []);
  assert.deepEqual([alone.report.container, ...alone.keys()], ["x.params", "w"]);
  await assert.rejects(
    read({ a: { w: weight }, b: { w: weight } }, []),
    raises("AMBIGUOUS", /"x\.a", "x\.b"/),
  );
});

test("long arrays of protocol 2 are text", async () => {
  const text = "\x01\xff".repeat(3000);
  const bytes = call("_codecs.encode", text, "latin1");
  const one = array(1, tuple(3000), dtype("i2"), false, bytes);
  const big = array(1, tuple(3000), dtype("i2", ">"), false, bytes);
  const checkpoint = await read({ one, big }, []);
  const value = async (name: string) => [...new Set(await checkpoint.get(name).toFloat32())];
  assert.deepEqual(await value("one"), [-255]);
  assert.deepEqual(await value("big"), [511]);
  const wide = array(1, tuple(1), dtype("i2"), false, call("_codecs.encode", "\u0100x", "latin1"));
  await assert.rejects(
    read(wide, []),
    raises("INVALID_TENSOR", /data is of the type object of _codecs\.encode/),
  );
});

test("arrays of texts and objects are values, not weights", async () => {
  const text = array(1, tuple(1), dtype("U1"), false, bytesOf(4));
  const objects = array(1, tuple(2), dtype("O8", "|"), false, [1, null]);
  const { report } = await read({ a: tensor(), text, objects }, [new Float32Array(12)]);
  assert.deepEqual(
    report.leftOut.listed.map(({ kind }) => kind),
    ["object of numpy.ndarray", "object of numpy.ndarray"],
  );
});

// ---- Tensors that are filled by a state -----------------------------------------------------------------------------

test("tensors that are filled by a wrong state are refused", async () => {
  const filled = (path: string, ...states: readonly Plain[]) =>
    assemble(call(path), ...states.flatMap((state) => [push(state), "BUILD" as const]));
  const good = tuple(storage(), 0, tuple(3, 4), tuple(4, 1));
  const data = [new Float32Array(12)];
  const checkpoint = await read(
    { a: filled("torch.FloatTensor", good), b: filled("torch.Tensor", good), c: call("torch.FloatTensor") },
    data,
  );
  assert.deepEqual(checkpoint.get("a").shape, [3, 4]);
  assert.deepEqual(checkpoint.get("c").shape, [0]);
  const variable = await read(
    { a: filled("torch.nn.parameter.Parameter", tuple(tensor(), null, null)) },
    data,
  );
  assert.deepEqual(variable.get("a").shape, [3, 4]);
  await refuses(
    {
      "another class": [
        filled("torch.HalfTensor", good),
        "INVALID_TENSOR",
        /HalfTensor and has a storage of float32/,
      ],
      "no storage": [
        filled("torch.FloatTensor", tuple(1, 0, tuple(1), tuple(1))),
        "INVALID_TENSOR",
        /no storage/,
      ],
      "too few values": [filled("torch.FloatTensor", tuple(storage())), "INVALID_TENSOR", /wrong state/],
      "a state that is text": [filled("torch.FloatTensor", "x"), "INVALID_TENSOR", /wrong state/],
      "two states": [filled("torch.FloatTensor", good, good), "INVALID_TENSOR", /several states/],
      "an end behind the storage": [
        filled("torch.FloatTensor", tuple(storage(), 1, tuple(3, 4), tuple(4, 1))),
        "INVALID_TENSOR",
        /ends at element 13/,
      ],
      "a number of elements": [
        call("torch.FloatTensor", 10 ** 9),
        "INVALID_TENSOR",
        /made with the wrong arguments/,
      ],
      "a parameter of nothing": [
        filled("torch.nn.parameter.Parameter", tuple(null)),
        "INVALID_TENSOR",
        /not a tensor/,
      ],
      "a parameter without a state": [call("torch.nn.parameter.Parameter"), "INVALID_TENSOR", /not a tensor/],
    },
    data,
    {},
  );
});

test("a parameter that is in its own state is refused", async () => {
  const cycle = assemble(call("torch.nn.parameter.Parameter"), "BINPUT", 5, "BINGET", 5, "TUPLE1", "BUILD");
  await assert.rejects(read(cycle, []), raises("INVALID_TENSOR", /not a tensor/));
});

test("wrappers are refused with their class", async () => {
  const wrapper = call(
    "torch._utils._rebuild_wrapper_subclass",
    name("company", "Wrapped"),
    global("torch.float32"),
  );
  await assert.rejects(read(wrapper, []), raises("UNSUPPORTED", /class "company\.Wrapped", a wrapper/));
});
