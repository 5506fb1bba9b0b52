import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBytes } from "../../src/source/memory.ts";
import { openTorch, type TorchOptions } from "../../src/torch/index.ts";
import { fixture } from "../fixtures.ts";
import { raises } from "../support.ts";
import { assemble, repeat } from "./pickle/assembler.ts";
import { call, global, openPickle, type Plain, pickleFile, push, tensor, tuple } from "./torch-file.ts";

const T = tensor();

const object = (className: string, state: Plain) =>
  assemble(global(className), "EMPTY_TUPLE", "NEWOBJ", push(state), "BUILD");

const attributes = (parameters: Plain, buffers: Plain = {}, modules: Plain = {}, more: object = {}) => ({
  _parameters: parameters,
  _buffers: buffers,
  _modules: modules,
  ...(more as { [key: string]: Plain }),
});

const net = (...parts: Parameters<typeof attributes>) => object("company.Net", attributes(...parts));

async function found(
  value: Plain,
  options: TorchOptions = {},
): Promise<[container: string, ...names: string[]]> {
  const checkpoint = await openTorch(fromBytes(pickleFile(push(value))), options);
  return [checkpoint.report.container, ...checkpoint.keys()];
}

test("the tensors of a module have the names of its state_dict", async () => {
  const inner = net({ weight: T, bias: null });
  const transient = { _non_persistent_buffers_set: call("builtins.set", ["cache"]) };
  const module = net({ p: T }, { b: T, cache: T, none: null }, { "0": inner, absent: null }, transient);
  assert.deepEqual(await found(module), ["", "p", "b", "0.weight"]);
  assert.deepEqual(await found({ model: module, epoch: 1, optimizer: { a: T } }), [
    "model",
    "p",
    "b",
    "0.weight",
  ]);
  assert.deepEqual(await found({ a: T, model: inner }), ["", "a", "model.weight"]);
  assert.deepEqual(await found({ state_dict: inner }), ["state_dict", "weight"]);
  assert.deepEqual(await found({ nets: [inner, module] }, { key: "nets.1.0" }), ["nets.1.0", "weight"]);
});

test("the report names the classes, and says what was left out", async () => {
  const module = net({ p: T }, {}, { inner: object("company.Layer", attributes({ q: T })) });
  const { report } = await openPickle(push({ model: module, epoch: 1 }));
  assert.deepEqual(report.classes, ["company.Net", "company.Layer"]);
  assert.deepEqual(report.leftOut.listed, [{ path: "epoch", kind: "int" }]);
});

test("the report says which tensors of modules are not in their state_dict", async () => {
  const transient = {
    _non_persistent_buffers_set: call("builtins.set", ["cache"]),
    anchors: T,
    names: ["x"],
  };
  const { report } = await openPickle(push({ model: net({ p: T }, { cache: T }, {}, transient) }));
  assert.deepEqual(report.tensorsOutside.listed, [
    { path: "model.cache", kind: "tensor, buffer that is not persistent" },
    { path: "model.anchors", kind: "tensor, attribute of a module" },
  ]);
  assert.equal(report.leftOut.count, 0);
});

test("modules that share their dicts cost no more than they show", async () => {
  const start = performance.now();
  // A hundred thousand modules around one dict of ten thousand entries, in which there is nothing.
  const shared = assemble(
    push(attributes(Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`p${index}`, null])))),
    "BINPUT", 1, "POP", "MARK", T,
    repeat(20_000, global("c.N"), "EMPTY_TUPLE", "NEWOBJ", "BINGET", 1, "BUILD"),
    "LIST",
  ); // biome-ignore format: one pickle
  await assert.rejects(found(shared), raises("LIMIT_EXCEEDED", /too many paths/));
  assert.ok(performance.now() - start < 30_000);
});

test("two modules need a choice", async () => {
  const two = { model: net({ a: T }), ema: net({ a: T }) };
  await assert.rejects(found(two), raises("AMBIGUOUS", /option key: "model", "ema"; or "" for all/));
  assert.deepEqual(await found(two, { key: "ema" }), ["ema", "a"]);
  assert.deepEqual(await found(two, { flatten: true }), ["", "model.a", "ema.a"]);
  assert.deepEqual(await found(two, { flatten: true, key: "ema" }), ["ema", "a"]);
});

test("a module in other forms of an object", async () => {
  const state = attributes({ a: T });
  const old = assemble(
    call("copy_reg._reconstructor", global("company.Net"), global("__builtin__.object"), null),
    push(state),
    "BUILD",
  );
  assert.deepEqual(await found(old), ["", "a"]);
  assert.deepEqual(await found(object("company.Net", tuple(state, { slot: 1 }))), ["", "a"]);
  const word = (text: string) => assemble("SHORT_BINSTRING", text.length, `'${text}`);
  const python2 = new Map<Plain, Plain>([
    [word("_parameters"), new Map<Plain, Plain>([[word("a"), T]])],
    [word("_buffers"), {}],
    [word("_modules"), {}],
  ]);
  assert.deepEqual(await found(object("company.Net", python2)), ["", "a"]);
  const ordered = (entries: Plain) =>
    assemble(call("collections.OrderedDict"), "MARK", push("a"), push(entries), "SETITEMS");
  assert.deepEqual(await found(net(ordered(T), ordered(null))), ["", "a"]);
});

test("what lacks one of the three dicts is no module", async () => {
  for (const state of [
    { _parameters: { a: T }, _buffers: {} },
    { _parameters: [T], _buffers: {}, _modules: {} },
    { _parameters: { a: T }, _buffers: {}, _modules: null },
  ]) {
    await assert.rejects(found(object("company.Net", state)), raises("UNSUPPORTED", /no torch\.nn\.Module/));
  }
  const twice = assemble(net({ a: T }), push(attributes({ b: T })), "BUILD");
  await assert.rejects(found(twice), raises("UNSUPPORTED", /no torch\.nn\.Module/));
});

test("a module below another one that has tensors in a form of its own is not lost", async () => {
  const packed = object("company.Packed", tuple(T, null, 3));
  await assert.rejects(
    found({ model: net({ p: T }, {}, { layer: net({}, {}, { packed }) }) }),
    raises(
      "UNSUPPORTED",
      /the module "layer\.packed" of "company\.Packed" has its tensors in a form of its own/,
    ),
  );
  const harmless = object("company.Packed", tuple(1, null, 3));
  assert.deepEqual(await found(net({ p: T }, {}, { harmless })), ["", "p"]);
});

test("packed tensors of quantized modules are reported", async () => {
  const packed = net({}, {}, {}, { _packed_params: tuple(T, null), dtype: global("torch.qint8") });
  await assert.rejects(
    found(net({}, {}, { packed })),
    raises(
      "TENSOR_NOT_FOUND",
      /at "packed\._packed_params" there is: tuple with tensors, attribute of a module/,
    ),
  );
  const script = net({}, {}, {}, { packed: object("torch.ScriptObject", tuple(T, null)) });
  await assert.rejects(
    found(script),
    raises("TENSOR_NOT_FOUND", /at "packed" there is: object of torch\.ScriptObject with tensors/),
  );
  const { report } = await openPickle(net({ p: T }, {}, { packed }));
  assert.deepEqual(report.tensorsOutside.listed, [
    { path: "packed._packed_params", kind: "tuple with tensors, attribute of a module" },
  ]);
});

test("a module that was made from tensors is not trusted", async () => {
  const made = assemble(call("company.load", T), push(attributes({ a: T })), "BUILD");
  await assert.rejects(found({ model: made }), raises("FORBIDDEN_GLOBAL", /"company\.load"/));
});

test("modules that contain themselves, and long chains of them", async () => {
  const self = assemble(
    global("company.Net"), "EMPTY_TUPLE", "NEWOBJ", "BINPUT", 1,
    push({ _parameters: { a: T }, _buffers: {} }), push("_modules"), "EMPTY_DICT", push("me"), "BINGET", 1, "SETITEM", "SETITEM", "BUILD",
  ); // biome-ignore format: one pickle
  assert.deepEqual(await found(self), ["", "a"]);
  const { report } = await openPickle(self);
  assert.deepEqual(report.leftOut.listed, [
    { path: "me", kind: "object of company.Net that contains itself" },
  ]);
  const chain = (levels: number) =>
    assemble(
      net({ a: T }),
      repeat(
        levels, "BINPUT", 0, "POP", global("company.Net"), "EMPTY_TUPLE", "NEWOBJ",
        push({ _parameters: {}, _buffers: {} }), push("_modules"), "EMPTY_DICT", push("x"), "BINGET", 0, "SETITEM", "SETITEM", "BUILD",
      ),
    ); // biome-ignore format: one pickle
  assert.equal((await found(chain(900)))[1], `${"x.".repeat(900)}a`);
  await assert.rejects(found(chain(3000)), raises("LIMIT_EXCEEDED", /nest too deep/));
});

test("objects of subclasses of dict and list are what is in them", async () => {
  const dict = assemble(global("company.Config"), "EMPTY_TUPLE", "NEWOBJ", "MARK", push("a"), T, "SETITEMS");
  const list = assemble(global("company.Layers"), "EMPTY_TUPLE", "NEWOBJ", "MARK", T, T, "APPENDS");
  assert.deepEqual(await found(dict), ["", "a"]);
  assert.deepEqual(await found({ list }), ["list", "0", "1"]);
  const { report } = await openPickle(push({ dict, list }), "");
  assert.deepEqual(report.classes, ["company.Config", "company.Layers"]);
});

test("whole modules of real PyTorch give the names that PyTorch gives", async () => {
  const whole = await openTorch(fromBytes(fixture("torch/kinds/whole-module.pt")));
  assert.deepEqual(whole.report.classes.slice(0, 2), [
    "company.nets.Net",
    "torch.nn.modules.sparse.Embedding",
  ]);
  assert.ok(whole.has("lm_head.weight") && !whole.has("cache") && !whole.has("attribute"));
  await assert.rejects(
    openTorch(fromBytes(fixture("torch/kinds/model-and-ema.pt"))),
    raises("AMBIGUOUS", /"model", "ema"/),
  );
});
