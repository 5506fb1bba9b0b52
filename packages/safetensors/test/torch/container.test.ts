import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBytes } from "../../src/source/memory.ts";
import { openTorch, type TorchOptions } from "../../src/torch/index.ts";
import { raises } from "../support.ts";
import { assemble, repeat, uint } from "./pickle/assembler.ts";
import {
  call,
  global,
  openPickle,
  type Plain,
  pickleFile,
  push,
  storage,
  tensor,
  tuple,
} from "./torch-file.ts";

const T = tensor();

/** Container and names of what is found. */
async function found(value: Plain, key?: string): Promise<[container: string, ...names: string[]]> {
  const checkpoint = await openPickle(push(value), key);
  return [checkpoint.report.container, ...checkpoint.keys()];
}

test("a tensor alone is named tensor", async () => {
  assert.deepEqual(await found(T), ["", "tensor"]);
});

test("a dict of tensors, with what is nested in it", async () => {
  assert.deepEqual(await found({ a: T, b: { c: [T, { d: T }], e: tuple(T) }, f: 3 }), [
    "",
    "a",
    "b.c.0",
    "b.c.1.d",
    "b.e.0",
  ]);
  assert.deepEqual(await found([T, [T, T]]), ["", "0", "1.0", "1.1"]);
  assert.deepEqual(await found(tuple(T, T)), ["", "0", "1"]);
  assert.deepEqual(
    await found(
      new Map<Plain, Plain>([
        [0, T],
        [-1, T],
      ]),
    ),
    ["", "0", "-1"],
  );
});

test("state_dict is unwrapped as often as it is there", async () => {
  assert.deepEqual(await found({ state_dict: { state_dict: { a: T } }, x: T }), [
    "state_dict.state_dict",
    "a",
  ]);
  assert.deepEqual(await found({ state_dict: T, a: T }), ["", "state_dict", "a"]);
});

test("the only child with tensors is taken, training state aside", async () => {
  assert.deepEqual(
    await found({
      model: { a: T },
      optimizer: { b: T },
      lr_schedulers: [T],
      callbacks: { c: T },
      loops: { d: T },
      optim_g: [T],
    }),
    ["model", "a"],
  );
  assert.deepEqual(await found({ model: { state_dict: { a: T } }, epoch: 1 }), ["model.state_dict", "a"]);
  assert.deepEqual(await found({ outer: { inner: { a: T, b: { c: T } } } }), ["outer.inner", "a", "b.c"]);
  assert.deepEqual(await found({ optimizer: { a: T }, epoch: 1 }), ["", "optimizer.a"]);
});

test("the order of the keys does not matter, nor do losses and random states beside the model", async () => {
  const one = tensor({ size: [1], stride: [1] });
  assert.deepEqual(await found({ loss: one, model: { a: T } }), ["model", "a"]);
  assert.deepEqual(await found({ net: { a: T }, rng_state: T, cuda_rng_state: [T, T] }), ["net", "a"]);
  // A name alone does not say that it is no weight.
  assert.deepEqual(await found({ score: T, backbone: { a: T } }), ["", "score", "backbone.a"]);
  for (const beside of [
    "loss",
    "val_loss",
    "best_loss",
    "rng_state",
    "cuda_rng_states",
    "global_step",
    "epoch",
  ]) {
    const entries: [string, Plain][] = [
      [beside, T],
      ["model_state_dict", { a: T }],
      ["optimizer_state_dict", { state: { 0: { exp_avg: T } } }],
    ];
    for (const order of [entries, entries.toReversed()]) {
      assert.deepEqual(await found(Object.fromEntries(order)), ["model_state_dict", "a"], beside);
    }
  }
  assert.deepEqual(await found({ x: T, state_dict: { a: T } }), ["state_dict", "a"]);
  assert.deepEqual(await found({ model: { b: T }, state_dict: { a: T } }), ["state_dict", "a"]);
  assert.deepEqual(await found({ state_dict: {}, model: { a: T } }), ["model", "a"]);
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`child${index}`, [T]]));
  assert.deepEqual(await found({ ...many, state_dict: { a: T } }), ["state_dict", "a"]);
});

test("weights beside a model need a choice where there is training state", async () => {
  assert.deepEqual(await found({ w: T, part: { a: T } }), ["", "w", "part.a"]);
  await assert.rejects(
    found({ w: T, part: { a: T }, optimizer: { b: T } }),
    raises("AMBIGUOUS", /option key: "part"; or "" for all/, { keys: ["part", ""] }),
  );
  assert.deepEqual(await found({ w: T, optimizer: { b: T } }), ["", "w", "optimizer.b"]);
});

test("several children with tensors need a choice", async () => {
  const two = { g: { a: T }, d: { b: T, deep: { c: T } }, step: 1 };
  await assert.rejects(found(two), raises("AMBIGUOUS", /option key: "g", "d"; or "" for all/));
  assert.deepEqual(await found(two, "g"), ["g", "a"]);
  assert.deepEqual(await found(two, "d.deep"), ["d.deep", "c"]);
  assert.deepEqual(await found(two, ""), ["", "g.a", "d.b", "d.deep.c"]);
  await assert.rejects(
    found({ params: two }),
    raises("AMBIGUOUS", /"params\.g", "params\.d"; or "params" for all/),
  );
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`child${index}`, [T]]));
  await assert.rejects(found(many), raises("AMBIGUOUS", /"child19", …;/));
});

test("a key may hold dots, and must fit one container", async () => {
  const dotted = { "a.b": { c: T }, a: { x: { y: T } } };
  assert.deepEqual(await found(dotted, "a.b"), ["a.b", "c"]);
  assert.deepEqual(await found(dotted, "a.x"), ["a.x", "y"]);
  await assert.rejects(
    found({ "a.b": { c: T }, a: { b: { c: T } } }, "a.b"),
    raises("AMBIGUOUS", /fits several/),
  );
  for (const key of ["z", "a.b.c", "a.", "."]) {
    await assert.rejects(
      found(dotted, key),
      raises("TENSOR_NOT_FOUND", /no container of tensors at the key/),
    );
  }
});

test("what is left out is listed", async () => {
  const { report } = await openPickle(
    push({ state_dict: { a: T, n: 1, s: storage() }, optimizer: { b: T }, x: [null, true, 2 ** 40, "text"] }),
  );
  assert.deepEqual(report.leftOut, {
    count: 6,
    listed: [
      { path: "state_dict.n", kind: "int" },
      { path: "state_dict.s", kind: "storage" },
      { path: "x.0", kind: "None" },
      { path: "x.1", kind: "bool" },
      { path: "x.2", kind: "int" },
      { path: "x.3", kind: "str" },
    ],
  });
  assert.deepEqual(report.tensorsOutside, { count: 1, listed: [{ path: "optimizer.b", kind: "tensor" }] });
  const long = await openPickle(push({ a: T, rest: Array.from({ length: 5000 }, () => 1) }));
  assert.deepEqual([long.report.leftOut.count, long.report.leftOut.listed.length], [5000, 1000]);
});

test("what lies among the tensors and has tensors inside is not lost in silence", async () => {
  const object = assemble(global("company.Net"), "EMPTY_TUPLE", "NEWOBJ", push({ b: T }), "BUILD");
  const set = assemble("EMPTY_SET", "MARK", T, "ADDITEMS");
  const slots = assemble(global("company.Slots"), "EMPTY_TUPLE", "NEWOBJ", push([T]), "BUILD");
  await assert.rejects(
    found({ a: T, ema: object }),
    raises(
      "UNSUPPORTED",
      /tensors inside of "ema" \(object of company\.Net\).*exclude it, or name it with the option key/,
    ),
  );
  await assert.rejects(found({ a: T, ema: object }, ""), raises("UNSUPPORTED", /tensors inside of "ema"/));
  await assert.rejects(
    found({ m: { a: T, x: set } }),
    raises("UNSUPPORTED", /inside of "m\.x" \(set\), which would be lost; exclude it$/),
  );
  await assert.rejects(found({ a: T, x: slots }), raises("UNSUPPORTED", /exclude it$/));
  // Outside of the state dict it is told.
  const { report } = await openPickle(push({ state_dict: { a: T }, ema: object, seen: set }));
  assert.deepEqual(report.tensorsOutside.listed, [
    { path: "ema", kind: "object of company.Net with tensors" },
    { path: "seen", kind: "set with tensors" },
  ]);
});

test("what need not be had may be of any kind", async () => {
  const object = assemble(global("company.Net"), "EMPTY_TUPLE", "NEWOBJ", push({ b: T }), "BUILD");
  const broken = tensor({ offset: 1e6 });
  const file = pickleFile(
    push({ a: T, b: broken, ema: object, "c.d": T, c: { d: T }, half: new Map<Plain, Plain>([[true, T]]) }),
  );
  const open = async (options: TorchOptions) => [...(await openTorch(fromBytes(file), options)).keys()];
  await assert.rejects(open({}), raises("INVALID_TENSOR", /"b"/));
  assert.deepEqual(await open({ exclude: /^(?!a)/ }), ["a", "c.d"]);
  assert.deepEqual(await open({ include: ["a"] }), ["a", "c.d"]);
  assert.deepEqual(await open({ include: ["none"] }), ["a", "c.d"]);
  await assert.rejects(open({ include: ["a", "b"] }), raises("INVALID_TENSOR", /"b"/));
  await assert.rejects(open({ exclude: ["b", "ema", "c.d"] }), raises("INVALID_NAME", /<bool>/));
  await assert.rejects(open({ include: ["a", "c.d"] }), raises("AMBIGUOUS", /"c\.d"/));
  const { renamed } = await openTorch(fromBytes(file), { include: ["a"] });
  assert.deepEqual(
    [...renamed],
    [
      ["b", []],
      ["ema", []],
      ["c.d", []],
      ["half.<bool>", []],
    ],
  );
  const only = pickleFile(push({ b: broken }));
  assert.deepEqual((await openTorch(fromBytes(only), { exclude: ["b"] })).size, 0);
});

test("a tensor that is given in parts is chosen as a whole or by part, and never takes the place of another", async () => {
  const storages = storage("torch.ComplexDoubleStorage", "1", 3);
  const complex = tensor({ storage: storages, size: [3], stride: [1] });
  const open = async (entries: [string, Plain][], options: TorchOptions) => {
    const file = pickleFile(push(Object.fromEntries(entries)));
    return openTorch(fromBytes(file), { complex128: "split", ...options });
  };
  const beside: [string, Plain][] = [
    ["w.real", T],
    ["w", complex],
    ["x", T],
  ];
  for (const entries of [beside, beside.toReversed()]) {
    for (const options of [{}, { include: ["w.real"] }, { exclude: ["x"] }])
      await assert.rejects(open(entries, options), raises("AMBIGUOUS", /"w\.real"/));
    const checkpoint = await open(entries, { exclude: ["w"] });
    assert.deepEqual([...checkpoint.keys()].sort(), ["w.real", "x"]);
    assert.deepEqual(checkpoint.get("w.real").shape, [3, 4]);
    assert.deepEqual([...checkpoint.renamed], [["w", []]]);
  }
  const alone = beside.slice(1);
  for (const [options, names] of [
    [{ include: ["w"] }, ["w.imag", "w.real", "x"]],
    [{ include: ["w.imag"] }, ["w.imag", "w.real", "x"]],
    [{ exclude: ["w.imag"] }, ["w.imag", "w.real", "x"]],
    [{ include: ["x"] }, ["x"]],
    [{ exclude: ["w"] }, ["x"]],
    [{ exclude: /^w\./ }, ["x"]],
  ] as const) {
    assert.deepEqual([...(await open(alone, options)).keys()].sort(), names, JSON.stringify(options));
  }
});

test("keys that are no part of a name matter only above tensors", async () => {
  const odd = new Map<Plain, Plain>([
    ["a", T],
    [null, 1],
    [tuple(1, 2), { x: 2 }],
    [global("company.Callback"), "x"],
  ]);
  assert.deepEqual(await found(odd), ["", "a"]);
  const { report } = await openPickle(push(odd));
  assert.deepEqual(
    report.leftOut.listed.map(({ path }) => path),
    ["<None>", "<tuple>.x", "<name company.Callback>"],
  );
  await assert.rejects(
    found(
      new Map<Plain, Plain>([
        ["a", T],
        [true, [T]],
      ]),
    ),
    raises("INVALID_NAME", /neither text nor an int: <bool>/),
  );
});

test("names that would collide or that no header can hold are refused", async () => {
  await assert.rejects(
    found({ "a.b": T, a: { b: T } }),
    raises("AMBIGUOUS", /two tensors get the name "a\.b"/, { tensor: "a.b" }),
  );
  await assert.rejects(
    found(
      new Map<Plain, Plain>([
        [0, T],
        ["0", T],
      ]),
    ),
    raises("AMBIGUOUS"),
  );
  const half = assemble("BINUNICODE", uint(4, 3), Buffer.from("eda080", "hex"));
  await assert.rejects(found(new Map<Plain, Plain>([[half, T]])), raises("INVALID_NAME", /surrogate/));
  const builtin = new Map<Plain, Plain>([
    ["__proto__", T],
    ["constructor", T],
  ]);
  assert.deepEqual(await found(builtin), ["", "__proto__", "constructor"]);
});

test("files without tensors say what they hold", async () => {
  for (const value of [{}, [], { a: 1 }, tuple()] as Plain[]) {
    await assert.rejects(found(value), raises("TENSOR_NOT_FOUND", /there are no tensors/));
  }
  await assert.rejects(found(5), raises("TENSOR_NOT_FOUND", /a value of the type int/));
  await assert.rejects(found("x"), raises("TENSOR_NOT_FOUND", /a value of the type str/));
});

test("whole objects are refused by their class", async () => {
  const object = (state: Plain) =>
    assemble(global("company.Net"), "EMPTY_TUPLE", "NEWOBJ", push(state), "BUILD");
  await assert.rejects(
    found(object({ a: T })),
    raises("UNSUPPORTED", /object of "company\.Net", which is no torch\.nn\.Module; save its state_dict/, {
      kind: "torch-object",
    }),
  );
  await assert.rejects(found(object({ lr: 1 })), raises("UNSUPPORTED", /"company\.Net"/));
  await assert.rejects(
    found({ model: object({ a: T }), optimizer: { b: T } }),
    raises("UNSUPPORTED", /"company\.Net" at "model"/),
  );
  const old = assemble(
    call("copyreg._reconstructor", global("company.Net"), global("builtins.object"), null),
    push({ a: T }),
    "BUILD",
  );
  await assert.rejects(found(old), raises("UNSUPPORTED", /"company\.Net"/));
  // A key says that all in it is meant.
  assert.deepEqual(await found(object({ a: T, b: { c: T } }), ""), ["", "a", "b.c"]);
  assert.deepEqual(await found({ args: object({ a: T, b: { c: T } }), t: T }, "args"), ["args", "a", "b.c"]);
  assert.deepEqual(await found({ args: object({ a: T, b: { c: T } }), t: T }, "args.b"), ["args.b", "c"]);
  await assert.rejects(found({ args: object(5), t: T }, "args"), raises("TENSOR_NOT_FOUND"));
  await assert.rejects(
    found(call("company.load", T)),
    raises("FORBIDDEN_GLOBAL", /"company\.load"/, { global: "company.load" }),
  );
});

test("the containers of Python are read as what they are", async () => {
  const pairs = [tuple("a", T), tuple("b", T)];
  assert.deepEqual(await found(call("collections.OrderedDict", pairs)), ["", "a", "b"]);
  assert.deepEqual(await found(call("builtins.dict", { a: T })), ["", "a"]);
  assert.deepEqual(await found(call("__builtin__.list", [T, T])), ["", "0", "1"]);
  assert.deepEqual(await found(call("builtins.tuple", [T])), ["", "0"]);
  const filled = (dict: Uint8Array) =>
    assemble(dict, push("a"), T, "SETITEM", push({ _metadata: null }), "BUILD");
  assert.deepEqual(await found(filled(call("collections.OrderedDict"))), ["", "a"]);
  assert.deepEqual(await found(filled(call("collections.defaultdict", global("builtins.list")))), ["", "a"]);
  await assert.rejects(found(filled(push({}))), raises("INVALID_PICKLE", /BUILD at byte/));
  await assert.rejects(
    found(assemble(T, push(tuple(storage(), 0, tuple(), tuple())), "BUILD")),
    raises("INVALID_PICKLE", /the target takes no state/),
  );
  const bytesKey = new Map<Plain, Plain>([[call("_codecs.encode", "é", "latin1"), T]]);
  assert.deepEqual(await found(bytesKey), ["", "é"]);
});

test("calls with arguments of another kind stay nodes; what Python would refuse is refused", async () => {
  for (const odd of [
    call("builtins.list", 1),
    call("builtins.dict", [tuple(1)]),
    call("_codecs.encode", "層", "latin1"),
    call("_codecs.encode", "x", "rot13"),
  ]) {
    assert.deepEqual(await found({ a: T, odd }), ["", "a"]);
  }
  await assert.rejects(
    found({ a: T, odd: call("builtins.set", [[1]]) }),
    raises("INVALID_PICKLE", /REDUCE at byte \d+: a list cannot/),
  );
});

test("a container that contains itself", async () => {
  const cycle = assemble(
    "EMPTY_DICT",
    "BINPUT",
    0,
    push("a"),
    T,
    "SETITEM",
    push("self"),
    "BINGET",
    0,
    "SETITEM",
  );
  assert.deepEqual(await found(cycle), ["", "a"]);
  const { report } = await openPickle(cycle);
  assert.deepEqual(report.leftOut.listed, [{ path: "self", kind: "dict that contains itself" }]);
  const wrapped = assemble(
    "EMPTY_DICT",
    "BINPUT",
    0,
    push("state_dict"),
    "BINGET",
    0,
    "SETITEM",
    push("a"),
    T,
    "SETITEM",
  );
  assert.deepEqual((await found(wrapped)).slice(1), ["a"]);
});

test("the same container in two places gives both names", async () => {
  const shared = assemble(
    "EMPTY_DICT",
    push("m"),
    push({ a: T }),
    "BINPUT",
    9,
    "SETITEM",
    push("n"),
    "BINGET",
    9,
    "SETITEM",
  );
  assert.deepEqual(await found(shared, ""), ["", "m.a", "n.a"]);
});

test("bombs of containers are refused, quickly", async () => {
  const start = performance.now();
  // Each list holds the one before twice: 2^40 paths.
  const paths = (top: Uint8Array, levels: number) =>
    assemble(
      top,
      repeat(levels, "BINPUT", 0, "POP", "EMPTY_LIST", "BINGET", 0, "APPEND", "BINGET", 0, "APPEND"),
    );
  await assert.rejects(
    found(paths(push([T]), 40), ""),
    raises("LIMIT_EXCEEDED", /too many paths/, { limit: "MAX_PATHS_PER_OPCODE" }),
  );
  assert.deepEqual((await found({ state_dict: { a: T }, deep: paths(push([1]), 40) })).slice(1), ["a"]);
  const nested = (levels: number) =>
    assemble(push([T]), repeat(levels, "BINPUT", 0, "POP", "EMPTY_LIST", "BINGET", 0, "APPEND"));
  await assert.rejects(
    found(nested(3000), ""),
    raises("LIMIT_EXCEEDED", /nest too deep/, { limit: "MAX_CONTAINER_DEPTH" }),
  );
  // With a tensor at the bottom, each level leads to it.
  const dicts = (levels: number) =>
    assemble(
      push({ a: T }),
      repeat(levels, "BINPUT", 0, "POP", "EMPTY_DICT", push("k"), "BINGET", 0, "SETITEM"),
    );
  for (const deep of [nested(100_000), dicts(100_000)]) {
    await assert.rejects(
      found(deep),
      raises("LIMIT_EXCEEDED", /nest too deep/, { limit: "MAX_CONTAINER_DEPTH" }),
    );
  }
  const side = assemble(push(Array.from({ length: 2000 }, () => [1])), "BINPUT", 7, "POP");
  const branched = assemble(
    side,
    push([T]),
    repeat(1500, "BINPUT", 0, "POP", "EMPTY_LIST", "BINGET", 7, "APPEND", "BINGET", 0, "APPEND"),
  );
  assert.equal((await found(branched)).length, 2);
  const key = "k".repeat(10_000);
  await assert.rejects(
    found({ [key]: { [key]: T } }, ""),
    raises("LIMIT_EXCEEDED", /a path of 20001/, { limit: "MAX_NAME_LENGTH" }),
  );
  // A list of ten thousand values that is copied ten thousand times.
  const copies = assemble(global("builtins.list"), "BINPUT", 1, "POP", push(Array(10_000).fill(0)), "TUPLE1", "BINPUT", 2, "POP",
    repeat(10_000, "BINGET", 1, "BINGET", 2, "REDUCE", "POP"), "NONE"); // biome-ignore format: one pickle
  await assert.rejects(found(copies), raises("INVALID_PICKLE", /copy more values/));
  assert.ok(performance.now() - start < 30_000);
});
