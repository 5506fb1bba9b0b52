import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBytes } from "../../src/source/memory.ts";
import { openTorch } from "../../src/torch/index.ts";
import { raises } from "../support.ts";
import { pickleOf } from "./containers.ts";
import { assemble } from "./pickle/assembler.ts";
import { call, global, type Plain, push, storage, tensor, torchFile, tuple } from "./torch-file.ts";

/** An object of TorchScript, as its pickler writes it. */
function object(path: string, state: Plain): Uint8Array {
  return assemble(global(path), "EMPTY_TUPLE", "NEWOBJ", push(state), "BUILD");
}

function scriptFile(top: Plain, records: Readonly<Record<string, Uint8Array | string>> = {}): Uint8Array {
  const zeros = { "data/0": new Uint8Array(48), "data/1": new Uint8Array(48) };
  return torchFile({ "data.pkl": pickleOf(top), "constants.pkl": pickleOf(tuple()), ...zeros, ...records });
}

const openScript = (top: Plain) => openTorch(fromBytes(scriptFile(top)));

const other = () => tensor({ storage: storage("torch.FloatStorage", "1") });

test("tensors are named by the attributes that lead to them, from the top", async () => {
  const inner = object("__torch__.torch.nn.modules.linear.Linear", {
    training: false,
    weight: tensor(),
    bias: null,
  });
  const checkpoint = await openScript(object("__torch__.Wrapper", { training: true, model: inner }));
  assert.deepEqual([...checkpoint.keys()], ["model.weight"]);
  const { form, container, globals, leftOut } = checkpoint.report;
  assert.deepEqual([form, container, leftOut.count], ["torchscript", "", 3]);
  assert.ok(globals.every(({ role }) => role === "interpreted"));
});

test("attributes that are tensors count, also in lists and dicts with a type", async () => {
  const list = call("torch.jit._pickle.build_tensorlist", [tensor()]);
  const dict = call("torch.jit._pickle.restore_type_tag", { a: other() }, "Dict[str, Tensor]");
  const ints = call("torch.jit._pickle.build_intlist", [1, 2]);
  const checkpoint = await openScript(object("__torch__.Net", { list, dict, ints }));
  assert.deepEqual([...checkpoint.keys()], ["list.0", "dict.a"]);
});

test("a key chooses a module", async () => {
  const net = object("__torch__.Net", { weight: tensor() });
  const file = scriptFile(
    object("__torch__.Both", { a: net, b: object("__torch__.Net", { bias: other() }) }),
  );
  assert.deepEqual([...(await openTorch(fromBytes(file), { key: "b" })).keys()], ["bias"]);
});

test("tensors that only code of the archive can unpack are refused; other such state is passed", async () => {
  const packed = object("__torch__.torch.classes.quantized.LinearPackedParamsBase", tuple(tensor(), null));
  await assert.rejects(
    openScript(object("__torch__.Net", { fc: packed })),
    raises("UNSUPPORTED", /"fc\.state" is packed in an object of __torch__\.torch\.classes/),
  );
  const vocabulary = object("__torch__.Vocabulary", tuple("a", "b"));
  const { report } = await openScript(object("__torch__.Net", { weight: tensor(), vocabulary }));
  assert.deepEqual(report.leftOut.count, 2);
});

test("a table of tensors is refused", async () => {
  const old = call("torch.jit._pickle.build_tensor_from_id", 3);
  await assert.rejects(
    openScript(object("__torch__.Net", { x: old })),
    raises("UNSUPPORTED", /table of tensors/),
  );
});

test("the code in the archive is not looked at", async () => {
  const code = {
    "code/__torch__.py": "import os; os.system('x')",
    "code/__torch__.py.debug_pkl": "no pickle",
  };
  const file = scriptFile(object("__torch__.Net", { weight: tensor() }), code);
  assert.deepEqual([...(await openTorch(fromBytes(file))).keys()], ["weight"]);
});

test("a pickle of TorchScript may not run anything either", async () => {
  for (const path of [
    "os.system",
    "torch.jit.load",
    "torch.jit._pickle.other",
    "torch.jit._pickle.build_intlist.eval",
  ]) {
    const bad = object("__torch__.Net", { weight: tensor(), x: global(path) });
    await assert.rejects(openScript(bad), raises("FORBIDDEN_GLOBAL"), path);
  }
});

const UNTYPED_IN_PYTHON = [
  ["Float8_e4m3fn", "F8_E4M3", 1, [6]],
  ["UInt16", "U16", 2, [6]],
  ["UInt64", "U64", 8, [6]],
  ["Float4_e2m1fn_x2", "F4", 1, [12]],
] as const;

for (const [name, dtype, bytes, shape] of UNTYPED_IN_PYTHON) {
  test(`a storage of the dtype ${name}, which only TorchScript has a class for`, async () => {
    const w = tensor({ storage: storage(`torch.${name}Storage`, "0", 6), size: [6], stride: [1] });
    const file = scriptFile(object("__torch__.Net", { w }), { "data/0": new Uint8Array(6 * bytes) });
    const checkpoint = await openTorch(fromBytes(file));
    assert.deepEqual([checkpoint.get("w").dtype, checkpoint.get("w").shape], [dtype, shape]);
    assert.ok(checkpoint.report.globals.every(({ role }) => role === "interpreted"));
  });
}

test("an object that contains itself ends", async () => {
  const cycle = assemble(
    global("__torch__.Net"), "EMPTY_TUPLE", "NEWOBJ", "BINPUT", 0,
    "EMPTY_DICT", push("self"), "BINGET", 0, "SETITEM", push("w"), tensor(), "SETITEM", "BUILD",
  ); // biome-ignore format: a line for the object, a line for its state
  assert.deepEqual([...(await openScript(cycle)).keys()], ["w"]);
});
