import assert from "node:assert/strict";
import { test } from "node:test";
import { concat } from "../../support.ts";
import { assemble, repeat } from "../pickle/assembler.ts";
import { call, global, type Plain, push, tensor, torchFile, tuple } from "../torch-file.ts";
import { checkRow, type Row } from "./scanned.ts";

const pickle = (value: Uint8Array): Uint8Array => assemble("PROTO", 4, value, "STOP");
const built = (object: Uint8Array, state: Plain): Uint8Array =>
  concat([object, push(state), assemble("BUILD")]);
const appended = (object: Uint8Array, ...items: readonly Plain[]): Uint8Array =>
  assemble(object, "MARK", ...items.map(push), "APPENDS");
const added = (object: Uint8Array, item: Plain): Uint8Array =>
  assemble(object, "MARK", push(item), "ADDITEMS");
const set = (object: Uint8Array, key: Plain, value: Plain): Uint8Array =>
  assemble(object, push(key), push(value), "SETITEM");
/** An object that refers to itself as 0 of the memo. */
const kept = (object: Uint8Array): Uint8Array => assemble(object, "BINPUT", 0);
const itself = assemble("BINGET", 0);

/** Text as Python 2 writes it. */
const oldText = (text: string): Uint8Array => assemble("SHORT_BINSTRING", text.length, `'${text}`);
const made = (text: string): Uint8Array => call("builtins.str", text);

const SETTINGS = call("argparse.Namespace");
const LINEAR = global("torch.nn.modules.linear.Linear");
const DICT = call("addict.addict.Dict");
const ATTRIBUTES = call("pytorch_lightning.utilities.parsing.AttributeDict");
const CONFIG = call("transformers.models.bert.configuration_bert.BertConfig");
const ADAM = call("torch.optim.adam.Adam");
const numpyArray = call(
  "numpy._core.multiarray._reconstruct",
  global("numpy.ndarray"),
  tuple(0),
  assemble("SHORT_BINBYTES", 1, "'b"),
);
const numpyTensor = (made: Uint8Array): Uint8Array =>
  call("torch._utils._rebuild_device_tensor_from_numpy", made, global("torch.float32"), "cpu", false);
const hooks = call("collections.OrderedDict");
const parameter = (data: Plain, ...more: readonly Plain[]): Uint8Array =>
  call(`torch._utils._rebuild_parameter${more.length > 0 ? "_with_state" : ""}`, data, false, hooks, ...more);
const subclass = (made: string, args: Plain, state: Plain = null): Uint8Array =>
  call("torch._tensor._rebuild_from_type_v2", global(made), global("torch.Tensor"), args, state);
const yolo = global("ultralytics.nn.tasks.DetectionModel");

type Case = readonly [what: string, value: Uint8Array, code?: Row[3]];

const ITEMS: readonly Case[] = [
  ["a deque", appended(call("collections.deque"), 1, 2)],
  ["a list", appended(call("builtins.list"), 1)],
  ["a set", added(call("builtins.set"), 1)],
  ["a dict with attributes", built(set(call("collections.OrderedDict"), "a", 1), { note: "x" })],
  ["a counter", set(call("collections.Counter"), "a", 1)],
  ["a dict of settings", set(DICT, "a", 1)],
  ["a dict of settings whose state it is itself", built(set(kept(DICT), "a", 1), itself)],
  ["a dict of settings with a state", built(set(ATTRIBUTES, "a", 1), {})],
  ["a dict that holds itself", set(kept(DICT), "a", itself)],
  ["settings", appended(SETTINGS, 1), "indirect-call"],
  ["settings, one by one", assemble(SETTINGS, push(1), "APPEND"), "indirect-call"],
  ["settings, as a set", added(SETTINGS, 1), "indirect-call"],
  ["settings, as a dict", set(SETTINGS, "a", 1), "indirect-call"],
  ["a configuration", appended(CONFIG, "a"), "indirect-call"],
  ["a dict as a list", appended(set(DICT, "append", LINEAR), 1), "indirect-call"],
  ["a dict as a set", added(set(DICT, "add", LINEAR), 1), "indirect-call"],
  ["a list as a dict", set(call("collections.deque"), 1, 1), "indirect-call"],
  ["a call that is kept", appended(call("functools.partial", global("builtins.dict")), 1), "indirect-call"],
  ["a name with types", appended(call("types.GenericAlias", SETTINGS, tuple()), 1), "indirect-call"],
  ["a parameter with attributes", appended(parameter(tensor(), { append: LINEAR }), 1), "indirect-call"],
  ["a dict that has a state", set(built(DICT, { a: 1 }), "a", 1), "indirect-call"],
];

const helper = (state: Plain): Uint8Array =>
  call(
    "copyreg._reconstructor",
    global("pytorch_lightning.utilities.parsing.AttributeDict"),
    global("builtins.dict"),
    state,
  );
const optimizer = { defaults: {}, state: call("collections.defaultdict"), param_groups: [{ lr: 1 }] };

const STATES: readonly Case[] = [
  ["one state", built(SETTINGS, { a: 1, append: 2 })],
  ["one state that refers to the object", built(kept(SETTINGS), { a: itself })],
  ["two states", built(built(SETTINGS, { __setstate__: LINEAR }), { a: 1 }), "indirect-call"],
  ["the same state twice", assemble(kept(SETTINGS), push({}), "BUILD", push({}), "BUILD"), "indirect-call"],
  ["two states by a helper", built(built(helper({}), {}), {}), "indirect-call"],
  ["two states of what is unknown", built(built(call("company.Settings"), {}), {}), "indirect-call"],
  ["an attribute that is an item", built(helper({ a: 1 }), {})],
  ["an item that is called", built(set(ATTRIBUTES, "__setstate__", LINEAR), {}), "indirect-call"],
  ["an item of the helper", built(helper({ __setstate__: LINEAR }), {}), "indirect-call"],
  [
    "an item of a dict that a call makes",
    built(helper(call("collections.OrderedDict", [tuple("__setstate__", LINEAR)])), {}),
    "indirect-call",
  ],
  ["a parameter", built(parameter(tensor(), {}), {}), "indirect-call"],
  ["a tensor", built(tensor(), {}), "indirect-call"],
  ["a logger", built(call("logging.getLogger", "a"), { handlers: [SETTINGS] }), "indirect-call"],
  ["a name with types", built(call("types.GenericAlias", SETTINGS, tuple()), {}), "indirect-call"],
  [
    "a state that answers for a dict",
    built(
      call("torch.nn.modules.linear.Linear"),
      built(call("argparse.Namespace"), { keys: call("torch.nn.modules.container.Sequential") }),
    ),
    "indirect-call",
  ],
  ["a state that is a dict of its own", built(call("torch.nn.modules.linear.Linear"), hooks)],
  ["an item of text as Python 2 writes it", built(set(ATTRIBUTES, oldText("a"), 1), {})],
  ["an item that is a number", built(set(ATTRIBUTES, 1, 1), {})],
  [
    "an item that is called, in old text",
    built(set(ATTRIBUTES, oldText("__setstate__"), LINEAR), {}),
    "indirect-call",
  ],
  [
    "an item that is called, in made text",
    built(set(ATTRIBUTES, made("__setstate__"), LINEAR), {}),
    "indirect-call",
  ],
  ["an item that is where attributes are", built(set(ATTRIBUTES, "__dict__", {}), {}), "indirect-call"],
  ["attributes and slots", built(SETTINGS, tuple({ a: 1 }, { b: 1 }))],
  ["attributes and no slots", built(SETTINGS, tuple({ a: 1 }, null))],
  ["a class in a slot", built(SETTINGS, tuple(null, { __class__: LINEAR })), "indirect-call"],
  [
    "a class in a slot, in old text",
    built(SETTINGS, tuple(null, new Map([[oldText("__class__"), LINEAR]]))),
    "indirect-call",
  ],
  [
    "a class in a slot, in made text",
    built(SETTINGS, tuple(null, new Map([[made("__class__"), LINEAR]]))),
    "indirect-call",
  ],
  ["slots in a dict that a call makes", built(SETTINGS, tuple(null, hooks)), "indirect-call"],
  ["attributes that answer for a dict", built(SETTINGS, tuple(SETTINGS, null)), "indirect-call"],
  ["a configuration", built(CONFIG, { a: 1 })],
  ["a configuration of pairs", built(CONFIG, tuple(tuple("attribute_map", {}))), "indirect-call"],
  [
    "a configuration with other names and slots",
    built(CONFIG, tuple({ attribute_map: {} }, null)),
    "indirect-call",
  ],
  [
    "a configuration with other names in a slot",
    built(CONFIG, tuple(null, { attribute_map: {} })),
    "indirect-call",
  ],
  [
    "a configuration with other names in a dict that a call makes",
    built(CONFIG, set(call("collections.OrderedDict"), "attribute_map", {})),
    "indirect-call",
  ],
  ["a configuration with other names", built(CONFIG, { attribute_map: { a: "b" } }), "indirect-call"],
  ["an optimizer", built(ADAM, optimizer)],
  [
    "an optimizer in old text",
    built(ADAM, new Map([[oldText("param_groups"), [{ lr: 1, params: [tensor()] }]]])),
  ],
  ["an optimizer of pairs", built(ADAM, tuple(tuple("_patch_step_function", LINEAR))), "indirect-call"],
  ["an optimizer of a list of pairs", built(ADAM, [tuple("_patch_step_function", LINEAR)]), "indirect-call"],
  ["an optimizer of attributes and slots", built(ADAM, tuple({}, { a: 1 })), "indirect-call"],
  [
    "an optimizer with a method in old text",
    built(ADAM, new Map([[oldText("_patch_step_function"), LINEAR]])),
    "indirect-call",
  ],
  [
    "an optimizer with a method in made text",
    built(ADAM, new Map([[made("_patch_step_function"), LINEAR]])),
    "indirect-call",
  ],
  [
    "an optimizer with two texts for a name, of which Python takes the first",
    built(
      ADAM,
      new Map<Plain, Plain>([
        [oldText("defaults"), SETTINGS],
        ["defaults", {}],
      ]),
    ),
    "indirect-call",
  ],
  [
    "an optimizer with the state of a parameter",
    built(ADAM, { ...optimizer, state: new Map<Plain, Plain>([[1, { step: 1 }]]) }),
  ],
  [
    "an optimizer with an object for the state of a parameter",
    built(ADAM, {
      ...optimizer,
      state: new Map<Plain, Plain>([[1, call("torch.nn.modules.container.ParameterDict")]]),
    }),
    "indirect-call",
  ],
  [
    "an optimizer with such an object in a dict that a call makes",
    built(ADAM, { ...optimizer, state: call("collections.OrderedDict", [tuple(1, SETTINGS)]) }),
    "indirect-call",
  ],
  [
    "an optimizer with an object in place of a list of parameters",
    built(ADAM, { ...optimizer, param_groups: [{ params: call("torch.nn.modules.container.Sequential") }] }),
    "indirect-call",
  ],
  [
    "an optimizer of a group that is none",
    built(ADAM, { ...optimizer, param_groups: [SETTINGS] }),
    "indirect-call",
  ],
  ["an optimizer of settings", built(ADAM, { ...optimizer, defaults: SETTINGS }), "indirect-call"],
  ["an optimizer of groups that a call makes", built(ADAM, { param_groups: SETTINGS }), "indirect-call"],
  ["an optimizer with a method", built(ADAM, { ...optimizer, profile_hook_step: LINEAR }), "indirect-call"],
  [
    "a tensor of settings",
    built(call("torch.FloatTensor"), tuple(SETTINGS, 0, tuple(), tuple())),
    "indirect-call",
  ],
];

const PARTS: readonly Case[] = [
  ["a tensor of what NumPy makes", numpyTensor(numpyArray)],
  ["a tensor of settings", numpyTensor(SETTINGS), "constructor-call"],
  ["a tensor of settings deep inside", parameter(tuple(tuple(SETTINGS))), "constructor-call"],
  ["a parameter of settings", parameter(SETTINGS), "constructor-call"],
  [
    "a parameter of settings by its class",
    call("torch.nn.parameter.Parameter", SETTINGS),
    "constructor-call",
  ],
  ["a parameter with attributes of objects", parameter(tensor(), { note: SETTINGS })],
  ["a parameter with attributes and slots", parameter(tensor(), tuple({ note: SETTINGS }, { slot: 1 }))],
  ["a parameter with a method", parameter(tensor(), { detach: LINEAR }), "indirect-call"],
  ["a parameter with a method in a slot", parameter(tensor(), tuple(null, { to: LINEAR })), "indirect-call"],
  [
    "a parameter with a method in old text",
    parameter(tensor(), new Map([[oldText("detach"), LINEAR]])),
    "indirect-call",
  ],
  [
    "a parameter with a method in made text",
    parameter(tensor(), new Map([[made("detach"), LINEAR]])),
    "indirect-call",
  ],
  ["a parameter of another class", parameter(tensor(), { __class__: LINEAR }), "indirect-call"],
  ["a parameter with attributes of a call", parameter(tensor(), SETTINGS), "indirect-call"],
  [
    "a subclass",
    parameter(subclass("torch._utils._rebuild_parameter", tuple(tensor(), false, hooks), { note: 1 })),
  ],
  [
    "a subclass of settings",
    subclass("torch._utils._rebuild_parameter", tuple(SETTINGS, false, hooks)),
    "constructor-call",
  ],
  [
    "a subclass with a method",
    subclass("torch._utils._rebuild_parameter", tuple(tensor(), false, hooks), { detach: LINEAR }),
    "indirect-call",
  ],
  ["a data set of tensors", call("torch.utils.data.dataset.TensorDataset", tensor()), "constructor-call"],
  ["a part of a data set", call("torch.utils.data.dataset.Subset", SETTINGS, [0]), "constructor-call"],
  ["a data set", built(call("torch.utils.data.dataset.Subset"), { dataset: [1], indices: [0] })],
  ["packed sequences", call("torch.nn.utils.rnn.PackedSequence", tensor(), tensor(), null, null)],
  ["packed settings", call("torch.nn.utils.rnn.PackedSequence", SETTINGS), "constructor-call"],
  ["a dict of settings", call("collections.OrderedDict", SETTINGS), "constructor-call"],
  ["a dict of a list of settings", call("collections.OrderedDict", [tuple("a", SETTINGS)])],
  ["text of settings", call("builtins.str", SETTINGS), "constructor-call"],
  ["an identifier of settings", call("uuid.UUID", SETTINGS), "constructor-call"],
  ["a fraction of settings", call("fractions.Fraction", SETTINGS), "constructor-call"],
  ["settings of a dict", call("types.SimpleNamespace", { append: LINEAR }), "constructor-call"],
  ["a time zone", call("datetime.timezone", call("datetime.timedelta", 0, 3600, 0))],
];

const NUMBERS: readonly Case[] = [
  ["a fraction", call("fractions.Fraction", "1/3")],
  ["a long fraction of text", call("fractions.Fraction", "1e9999999999"), "allocation"],
  ["a long fraction, in capitals", call("fractions.Fraction", " 1E+9999999 "), "allocation"],
  ["a fraction of a decimal", call("fractions.Fraction", call("decimal.Decimal", "1e9")), "constructor-call"],
  ["a decimal", call("decimal.Decimal", "1E+30")],
  ["a long decimal", call("decimal.Decimal", "1e99999"), "allocation"],
  ["digits", call("builtins.int", "9".repeat(4300))],
  ["too many digits", call("builtins.int", "9".repeat(4301)), "allocation"],
];

const EVALUATES: readonly Case[] = [
  ["a model", built(call("ultralytics.nn.tasks.DetectionModel"), { training: false })],
  [
    "a model by a helper",
    call(
      "copyreg._reconstructor",
      ...[global("ultralytics.nn.tasks.DetectionModel"), global("builtins.object"), null],
    ),
  ],
  [
    "a model with its source",
    assemble(tuple("module", yolo, "a.py", ""), "BINPERSID", "EMPTY_TUPLE", "NEWOBJ"),
  ],
  ["a model as a value", yolo, "constructor-call"],
  [
    "a model that the same tuple hands on twice",
    assemble(
      tuple("module", yolo, "a.py", ""),
      ...["BINPUT", 0, "BINPERSID", "EMPTY_TUPLE", "NEWOBJ", "POP", "BINGET", 0, "BINPERSID"],
    ),
    "constructor-call",
  ],
  ["a model as an attribute", built(SETTINGS, { size: yolo }), "constructor-call"],
  ["a model that is kept", call("functools.partial", yolo), "constructor-call"],
  [
    "a model that is made, and kept by the same tuple",
    assemble(
      ...[global("copyreg.__newobj__"), tuple(yolo), "BINPUT", 0, "REDUCE", "POP"],
      ...[global("functools.partial"), "BINGET", 0, "REDUCE"],
    ),
    "constructor-call",
  ],
  [
    "a model that is made, and kept by the same tuple and NEWOBJ",
    assemble(
      ...[global("copyreg.__newobj__"), tuple(yolo), "BINPUT", 0, "REDUCE", "POP"],
      ...[global("functools.partial"), "BINGET", 0, "NEWOBJ"],
    ),
    "constructor-call",
  ],
  [
    "a model that is made, and handed to a constructor by the same tuple",
    assemble(
      ...[global("copyreg.__newobj__"), tuple(yolo), "BINPUT", 0, "REDUCE", "POP"],
      ...[global("types.GenericAlias"), "BINGET", 0, "REDUCE"],
    ),
    "constructor-call",
  ],
];

for (const [title, rows] of Object.entries({ ITEMS, STATES, PARTS, NUMBERS, EVALUATES })) {
  for (const [what, value, code] of rows) {
    const file = torchFile({ "data.pkl": pickle(value), "data/0": new Uint8Array(48) });
    const row: Row = code ? [what, file, "incomplete", code] : [what, file, "clean"];
    test(`objects, ${title.toLowerCase()}: ${what}`, () => checkRow(row));
  }
}

test("objects share a state, arguments and settings of many parts, and are judged once", async () => {
  const long = assemble("MARK", repeat(100_000, "NONE"), "TUPLE");
  const kept = assemble(
    long,
    "BINPUT",
    0,
    global("pytorch_lightning.utilities.parsing.AttributeDict"),
    "BINPUT",
    1,
  );
  const calls = repeat(20_000, "BINGET", 1, "BINGET", 0, "NEWOBJ", "EMPTY_DICT", "BUILD", "POP");
  const started = performance.now();
  await checkRow(["arguments", pickle(assemble(kept, calls, "NONE")), "incomplete", "limit"]);
  const names = Array.from({ length: 30_000 }, (_, index) => [`a${index}`, null] as const);
  const state = assemble(
    push(Object.fromEntries(names)),
    "BINPUT",
    0,
    global("torch.optim.adam.Adam"),
    "BINPUT",
    1,
  );
  const objects = repeat(20_000, "BINGET", 1, "EMPTY_TUPLE", "NEWOBJ", "BINGET", 0, "BUILD", "POP");
  await checkRow(["a state", pickle(assemble(state, objects, "NONE")), "incomplete", "indirect-call"]);
  assert.ok(performance.now() - started < 20_000);
});
