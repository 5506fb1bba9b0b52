import assert from "node:assert/strict";
import { test } from "node:test";
import { concat } from "../../support.ts";
import { assemble, repeat } from "../pickle/assembler.ts";
import { call, global, type Plain, push, tensor, torchFile, tuple } from "../torch-file.ts";
import { checkRow, type Row } from "./scanned.ts";

const pickle = (value: Uint8Array): Uint8Array => assemble("PROTO", 4, value, "STOP");
const made = (path: string, args: readonly Plain[], kwargs: Plain): Uint8Array =>
  assemble(global(path), tuple(...args), push(kwargs), "NEWOBJ_EX");
const newObject = (path: string, ...args: readonly Plain[]): Uint8Array =>
  assemble(global(path), tuple(...args), "NEWOBJ");
const built = (object: Uint8Array, state: Uint8Array): Uint8Array =>
  concat([object, state, assemble("BUILD")]);
const bytes = assemble("SHORT_BINBYTES", 8, new Uint8Array(8));
const encoded = (text: string) => call("_codecs.encode", text, "latin1");

const LINEAR = "torch.nn.modules.linear.Linear";
const YOLO = "ultralytics.nn.tasks.DetectionModel";
const LORA = "peft.tuners.lora.config.LoraConfig";
const DTYPE = call("numpy.dtype", "O8", false, true);
const partial = (path: string, ...items: readonly Plain[]) =>
  call("functools.partial", global(path), ...items);
const keeps = (path: string, args: readonly Plain[], kwargs: Plain): Uint8Array =>
  built(partial(path), tuple(global(path), tuple(...args), kwargs, null));
const defaults = (factory: Uint8Array) => call("collections.defaultdict", factory);

const MADE: readonly (readonly [what: string, value: Uint8Array, code?: Row[3]])[] = [
  ["a storage over an allocator", made("torch.UntypedStorage", [], { allocator: 8 }), "constructor-call"],
  ["a tensor at an address", made("torch.FloatTensor", [], { cdata: 8 }), "constructor-call"],
  ["a plain tensor at an address", made("torch.Tensor", [], { cdata: 8 }), "constructor-call"],
  [
    "the same by a helper",
    call("copyreg.__newobj_ex__", global("torch.Tensor"), tuple(), { cdata: 8 }),
    "constructor-call",
  ],
  [
    "arguments that another call makes",
    call("copyreg.__newobj_ex__", global("builtins.bytes"), call("builtins.tuple", [2 ** 30]), {}),
    "indirect-call",
  ],
  ["a dict of keywords", made("builtins.dict", [], { a: 1 })],
  ["a tensor without keywords", made("torch.Tensor", [], {})],
  ["bytes by number", newObject("builtins.bytes", 2 ** 40), "allocation"],
  ["bytes by a helper", call("copyreg.__newobj__", global("builtins.bytes"), 2 ** 40), "allocation"],
  ["bytes by a number of NumPy's", newObject("builtins.bytes", call("builtins.int", "9")), "allocation"],
  [
    "bytes by a tensor, which is a number too",
    call("builtins.bytes", call("torch._utils._rebuild_meta_tensor_no_storage", 9)),
    "allocation",
  ],
  ["bytes of text", newObject("builtins.bytes", encoded("abc"))],
  ["a set of a list", call("builtins.set", call("builtins.list", ["a"]))],
  ["a storage by number", newObject("torch.UntypedStorage", 2 ** 40), "allocation"],
  ["a tensor by number", call("torch.Tensor", 2 ** 40), "allocation"],
  ["a tensor by a size", call("torch.FloatTensor", call("torch.Size", tuple(9))), "allocation"],
  ["a counter of a range", call("collections.Counter", call("builtins.range", 2 ** 40)), "allocation"],
  ["an array by a shape", newObject("numpy.ndarray", tuple(2 ** 40)), "allocation"],
  [
    "an array by a shape, as NumPy writes it",
    call("numpy._core.multiarray._reconstruct", global("numpy.ndarray"), tuple(2 ** 40), encoded("b")),
    "allocation",
  ],
  ["an array over bytes", call("numpy.ndarray", tuple(0), "O", bytes, 0), "constructor-call"],
  ["an array of objects", call("numpy.ndarray", tuple(0), "O"), "constructor-call"],
  ["an array of a class", call("numpy.ndarray", tuple(0), global("builtins.object")), "constructor-call"],
  ["records over bytes", call("numpy.rec.recarray", tuple(0), "O", bytes), "constructor-call"],
  ["a matrix of text", call("numpy.matrix", "O"), "constructor-call"],
  [
    "an array, as NumPy writes it",
    call("numpy._core.multiarray._reconstruct", global("numpy.ndarray"), tuple(0), encoded("b")),
  ],
  [
    "an array with a mask, as NumPy writes it",
    call(
      "numpy.ma.core._mareconstruct",
      ...[global("numpy.ma.MaskedArray"), global("numpy.ndarray"), tuple(0), encoded("b")],
    ),
  ],
  [
    "a model in place of an array",
    call("numpy.ma.core._mareconstruct", global(YOLO), global("numpy.ndarray"), tuple(0), encoded("b")),
    "constructor-call",
  ],
  [
    "what a call returned in place of an array",
    call("numpy._core.multiarray._reconstruct", call("builtins.object"), tuple(0), encoded("b")),
    "indirect-call",
  ],
  [
    "a type that hides its objects, by a helper",
    built(
      call("copyreg.__newobj__", global("numpy.dtype"), DTYPE),
      tuple(3, "|", null, null, null, -1, -1, 0),
    ),
    "malformed-pickle",
  ],
  ["an enumeration of names", call("enum.Enum", "X", "a b"), "made-class"],
];

const DELAYED: typeof MADE = [
  ["a class by itself", partial("torch.nn.modules.activation.GELU")],
  ["a layer with numbers", keeps("torch.nn.modules.normalization.LayerNorm", [], { eps: 1 })],
  ["a layer with an object", partial(LINEAR, call("argparse.Namespace")), "constructor-call"],
  ["a model with text", partial(YOLO, "evil.yaml"), "constructor-call"],
  ["a model in a state", keeps(YOLO, ["evil.yaml"], null), "constructor-call"],
  ["a model with keywords", keeps(YOLO, [], { cfg: "evil.yaml" }), "constructor-call"],
  [
    "a model with keywords that come later",
    concat([
      push({}),
      assemble("BINPUT", 0, "POP"),
      keeps(YOLO, [], assemble("BINGET", 0)),
      assemble("BINGET", 0, push("cfg"), push("evil.yaml"), "SETITEM", "POP"),
    ]),
    "constructor-call",
  ],
  [
    "a model with keywords in what a call copies",
    keeps(LINEAR, [], call("collections.OrderedDict", [["eps", 1]])),
    "indirect-call",
  ],
  ["keywords that are handed over", made("functools.partial", [global(LINEAR)], { eps: 1 }), "indirect-call"],
  [
    "the same by a helper",
    call("copyreg.__newobj_ex__", global("functools.partial"), tuple(global(LINEAR)), { eps: 1 }),
    "indirect-call",
  ],
  ["two states", built(keeps(LINEAR, [], null), tuple(global(LINEAR), tuple(), null, null)), "indirect-call"],
  ["an optimizer with numbers", keeps("torch.optim.adamw.AdamW", [], { lr: 1, betas: tuple(1, 2) })],
  ["a schedule with text", keeps("torch.optim.lr_scheduler.ReduceLROnPlateau", [], { mode: "min" })],
  [
    "an optimizer with an object",
    keeps("torch.optim.adamw.AdamW", [], { lr: call("argparse.Namespace") }),
    "constructor-call",
  ],
  ["a dict of lists", keeps("builtins.dict", [], { a: [1, 2] })],
  ["a model without keywords", keeps("timm.models.resnet.ResNet", [], {})],
  ["a model by a helper", partial("copyreg.__newobj__", global(YOLO), "evil.yaml"), "constructor-call"],
  ["a call by NEWOBJ", newObject("functools.partial", global(YOLO), "evil.yaml"), "constructor-call"],
  ["what a changed list holds", partial("numpy.random._pickle.__bit_generator_ctor", []), "indirect-call"],
  ["a call that is kept twice", partial("functools.partial", global(YOLO), "x"), "indirect-call"],
  [
    "one that a helper keeps",
    partial("copyreg.__newobj__", global("functools.partial"), global(YOLO), "x"),
    "indirect-call",
  ],
  ["what a call returned", call("functools.partial", call("builtins.object")), "indirect-call"],
  ["a state that is none", built(partial(LINEAR), tuple(1)), "indirect-call"],
  ["a function of tensors", keeps("torch.nn.functional.relu", [], { inplace: true })],
];

const DEFAULTS: typeof MADE = [
  ["lists", defaults(global("builtins.list"))],
  ["none", call("collections.defaultdict")],
  ["nothing", defaults(push(null))],
  ["dicts of lists", defaults(partial("collections.defaultdict", global("builtins.list")))],
  ["a scaler of gradients", defaults(global("torch.amp.grad_scaler._refresh_per_optimizer_state"))],
  ["tensors", defaults(global("torch.Tensor"))],
  ["numbers of NumPy's", defaults(global("numpy.float64"))],
  ["a number", defaults(partial("builtins.int", 3))],
  ["a model", defaults(global(YOLO)), "indirect-call"],
  ["a layer", defaults(partial(LINEAR, 3, 2)), "indirect-call"],
  ["memory", defaults(partial("builtins.bytearray", 2 ** 40)), "allocation"],
  ["a generator", defaults(partial("numpy.random._pickle.__bit_generator_ctor", LINEAR)), "indirect-call"],
  [
    "a state that names another",
    defaults(built(partial("builtins.list"), tuple(global(YOLO), tuple(), null, null))),
    "indirect-call",
  ],
  ["dicts of models", defaults(partial("collections.defaultdict", global(YOLO))), "indirect-call"],
  ["an object", defaults(call("types.GenericAlias", global(LINEAR), tuple(3, 2))), "indirect-call"],
  [
    "a factory that is set as an attribute",
    built(defaults(global("builtins.list")), tuple(null, { default_factory: global(YOLO) })),
    "indirect-call",
  ],
];

const SETTINGS = newObject("types.SimpleNamespace");
const CONFIG = "transformers.configuration_utils.PretrainedConfig";
const FOREIGN: typeof MADE = [
  [
    "a model of adapters",
    call("peft.tuners.prompt_tuning.model.PromptEmbedding", SETTINGS),
    "constructor-call",
  ],
  ["an option of adapters", call("peft.tuners.prompt_tuning.config.PromptTuningInit", "TEXT")],
  ["an object", call(LORA, SETTINGS), "constructor-call"],
  ["an object by NEWOBJ", newObject(LORA, SETTINGS), "constructor-call"],
  ["an object in a list in a dict", call(LORA, { a: [SETTINGS] }), "constructor-call"],
  [
    "an object of data and a state",
    call(LORA, built(call("peft.utils.peft_types.PeftType", "LORA"), push({ a: 1 }))),
    "constructor-call",
  ],
  [
    "a dict with attributes",
    call(LORA, built(call("collections.OrderedDict"), push({ a: 1 }))),
    "constructor-call",
  ],
  ["a class", call(LORA, global(LINEAR)), "constructor-call"],
  ["keywords", made(LORA, [], { a: 1 }), "constructor-call"],
  [
    "data",
    call(
      LORA,
      null,
      1,
      "a",
      true,
      bytes,
      tuple(1, [2, { a: new Uint8Array(bytes) }]),
      global("torch.float16"),
    ),
  ],
  ["an option", call(CONFIG, call("peft.utils.peft_types.PeftType", "LORA"))],
  [
    "a number of NumPy's",
    call(CONFIG, call("numpy._core.multiarray.scalar", call("numpy.dtype", "f8"), bytes)),
  ],
];

const cycle = concat([
  assemble("EMPTY_LIST", "BINPUT", 0, "BINGET", 0, "APPEND", "POP"),
  call(CONFIG, assemble("BINGET", 0)),
]);
const deep = call(CONFIG, assemble("NONE", ...new Array<string>(100_000).fill("TUPLE1")));

for (const [title, rows] of Object.entries({ MADE, DELAYED, DEFAULTS, FOREIGN })) {
  for (const [what, value, code] of rows) {
    const row: Row = code ? [what, pickle(value), "incomplete", code] : [what, pickle(value), "clean"];
    test(`calls, ${title.toLowerCase()}: ${what}`, () => checkRow(row));
  }
}

test("tensors are data", () => {
  const data = pickle(call(CONFIG, tensor()));
  return checkRow(["", torchFile({ "data.pkl": data, "data/0": new Uint8Array(48) }), "clean"]);
});

test("a list of itself, and a deep one, end", async () => {
  await checkRow(["a cycle", pickle(cycle), "clean"]);
  await checkRow(["a deep tuple", pickle(deep), "clean"]);
});

test("much that is looked at again and again ends, and is no data then", async () => {
  const list = push(new Array<number>(100_000).fill(1));
  const calls = Array.from({ length: 100 }, () =>
    concat([call(CONFIG, assemble("BINGET", 0)), assemble("POP")]),
  );
  const value = concat([list, assemble("BINPUT", 0, "POP"), ...calls, assemble("NONE")]);
  await checkRow(["", pickle(value), "incomplete", "constructor-call"]);
});

test("a long tuple that is handed to many calls ends", async () => {
  const long = assemble("MARK", repeat(100_000, "NONE"), "TUPLE");
  for (const path of ["copyreg.__newobj__", "functools.partial", "numpy.random._pickle.__generator_ctor"]) {
    const once = concat([global(path), assemble("BINGET", 0, "REDUCE", "POP")]);
    const calls = new Array<Uint8Array>(20_000).fill(once);
    const value = concat([long, assemble("BINPUT", 0, "POP"), ...calls, assemble("NONE")]);
    await checkRow([path, pickle(value), "incomplete", "limit"]);
  }
});

test("a partial call with many states makes missing values of many dicts, and is judged once", async () => {
  const state = tuple(global("builtins.list"), tuple(), {}, null);
  const value = concat([
    concat([partial("builtins.list"), assemble("BINPUT", 0, "POP"), state, assemble("BINPUT", 1, "POP")]),
    concat([global("collections.defaultdict"), assemble("BINPUT", 2, "POP")]),
    repeat(20_000, "BINGET", 0, "BINGET", 1, "BUILD", "POP"),
    repeat(20_000, "BINGET", 2, "BINGET", 0, "TUPLE1", "REDUCE", "POP"),
    assemble("NONE"),
  ]);
  await checkRow(["", pickle(value), "incomplete", "indirect-call"]);
});

test("many arrays share a shape that is longer than any", async () => {
  const shape = assemble(
    "MARK",
    repeat(100_000, "BININT1", 1),
    "TUPLE",
    "BINPUT",
    0,
    global("numpy.ndarray"),
    "BINPUT",
    1,
  );
  const calls = repeat(20_000, "BINGET", 1, "BINGET", 0, "TUPLE1", "REDUCE", "POP");
  const started = performance.now();
  const value = assemble(shape, calls, "NONE");
  await checkRow(["", pickle(value), "incomplete", "constructor-call", "allocation"]);
  assert.ok(performance.now() - started < 2000);
});
