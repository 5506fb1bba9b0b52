import assert from "node:assert/strict";
import { test } from "node:test";
import { classifyGlobal } from "../../src/torch/globals.ts";
import { assemble, uint } from "./pickle/assembler.ts";
import { scanned } from "./scan/scanned.ts";
import { call, global, openPickle, pickleFile, push, tensor, tuple } from "./torch-file.ts";

const OWNER = "torch._C._VariableFunctionsClass";
const relu = call("__builtin__.getattr", global(OWNER), "relu");
const beside = (value: Uint8Array): Uint8Array => push({ weight: tensor(), value });

const HONEST: Readonly<Record<string, Uint8Array>> = {
  "torch.relu": relu,
  "torch.relu, as Python 3 names getattr": call("builtins.getattr", global(OWNER), "relu"),
  "torch.relu of an old version": call("__builtin__.getattr", global("torch._C._VariableFunctions"), "relu"),
  "two of them, by the memo": assemble(
    "MARK",
    assemble(global("__builtin__.getattr"), "BINPUT", 0, global(OWNER), "BINPUT", 1),
    assemble(push("relu"), "TUPLE2", "REDUCE"),
    assemble("BINGET", 0, "BINGET", 1, push("sigmoid"), "TUPLE2", "REDUCE", "TUPLE"),
  ),
  "functools.partial of one": call("functools.partial", relu),
  "a time zone": assemble(
    call("builtins.getattr", global("zoneinfo.ZoneInfo"), "_unpickle"),
    tuple("Europe/Berlin", true),
    "REDUCE",
  ),
  "functions that are names": tuple(
    global("torch.nn.functional.gelu"),
    global("torch._C._nn.gelu"),
    global("torch.functional.einsum"),
  ),
};

/** As Python writes it: the object is in the memo before it has its state. */
const withMethod = (owner: string, method: string): Uint8Array =>
  assemble(
    assemble(global(owner), "EMPTY_TUPLE", "NEWOBJ", "BINPUT", 77, "EMPTY_DICT", push("act")),
    assemble(global("builtins.getattr"), "BINGET", 77, push(method), "TUPLE2", "REDUCE", "SETITEM", "BUILD"),
  );

for (const [what, value] of Object.entries({
  ...HONEST,
  "a method of an activation": withMethod("transformers.activations.GELUActivation", "_gelu_python"),
  "a method of a scheduler": withMethod("torch.optim.lr_scheduler.CyclicLR", "_triangular_scale_fn"),
  "a static method of a scheduler": call(
    "builtins.getattr",
    global("torch.optim.lr_scheduler.CyclicLR"),
    "_triangular_scale_fn",
  ),
  "a fused layer": withMethod("ultralytics.nn.modules.conv.Conv", "forward_fuse"),
})) {
  test(`${what} is a value that nothing is done with`, async () => {
    const { verdict, findings, globals } = await scanned(pickleFile(beside(value)));
    assert.equal(verdict, "clean", JSON.stringify(findings));
    assert.ok(globals.every(({ role }) => role === "inert" || role === "interpreted"));
    const checkpoint = await openPickle(beside(value));
    assert.deepEqual([...checkpoint.keys()], ["weight"]);
    assert.ok(checkpoint.report.globals.every(({ role }) => role === "inert" || role === "interpreted"));
  });
}

const raisesAny = (error: Error & { code?: string }): boolean =>
  error.code === "FORBIDDEN_GLOBAL" || error.code === "INVALID_PICKLE";

const getattr = global("builtins.getattr");
const HOSTILE: Readonly<Record<string, Uint8Array>> = {
  "another object": call("builtins.getattr", global("torch.serialization"), "relu"),
  "a class below it": call("builtins.getattr", global("torch._C._VariableFunctionsClass.x"), "relu"),
  "an object in place of it": call("builtins.getattr", relu, "relu"),
  ...Object.fromEntries(
    "load save from_file from_numpy __init__ __class__ relu.__self__ __self__ as_tensor zeros Relu"
      .split(" ")
      .concat("", " relu")
      .map((text) => [
        `the attribute ${JSON.stringify(text)}`,
        call("builtins.getattr", global(OWNER), text),
      ]),
  ),
  "an attribute that is no text": call("builtins.getattr", global(OWNER), null),
  "a third argument": call("builtins.getattr", global(OWNER), "relu", global("collections.OrderedDict")),
  "one argument": call("builtins.getattr", global(OWNER)),
  "getattr that is handed on": tuple(relu, getattr),
  "getattr that is handed on by the memo": assemble(
    "MARK",
    assemble(getattr, "BINPUT", 0, global(OWNER), push("relu"), "TUPLE2", "REDUCE"),
    assemble("BINGET", 0, "TUPLE"),
  ),
  "getattr that is not called": getattr,
  "a call of what it gives": assemble(relu, tuple(1), "REDUCE"),
  "an object of what it gives": assemble(relu, tuple(1), "NEWOBJ"),
  "a state of what it gives": assemble(relu, push({ a: 1 }), "BUILD"),
  "an object of getattr": assemble(getattr, tuple(global(OWNER), "relu"), "NEWOBJ"),
  "another name beside it": tuple(relu, global("builtins.setattr")),
};

for (const [what, value] of Object.entries(HOSTILE)) {
  test(`getattr with ${what} stays dangerous, and is refused`, async () => {
    const { verdict, findings } = await scanned(pickleFile(beside(value)));
    assert.equal(verdict, "dangerous", JSON.stringify(findings));
    await assert.rejects(openPickle(beside(value)), raisesAny);
  });
}

const act = (method = "_act"): Uint8Array =>
  call(
    "builtins.getattr",
    assemble(global("torch.nn.modules.linear.Linear"), "EMPTY_TUPLE", "NEWOBJ"),
    method,
  );

for (const [what, value] of Object.entries({
  "of an object whose attributes may be computed": withMethod(
    "transformers.training_args.TrainingArguments",
    "device",
  ),
  "of an unknown class": call("builtins.getattr", global("torch._C._VariableFunctionsClassX"), "relu"),
  "of an object of an unknown class": withMethod("__main__.Net", "_act"),
  ...Object.fromEntries(
    [
      "torchvision.models.resnet.ResNet18_Weights",
      "timm.models.resnet.ResNet",
      "ultralytics.nn.tasks.DetectionModel",
    ].map((path) => [`of what may be no module, ${path}`, withMethod(path, "get_state_dict")]),
  ),
  "that a partial call keeps": call("functools.partial", act()),
  "that makes missing values": call("collections.defaultdict", act()),
  "that is handed to a constructor": call("torch.nn.modules.linear.Linear", act()),
}))
  test(`a method ${what} is nothing that anybody vouches for`, async () => {
    const { verdict, findings } = await scanned(pickleFile(beside(value)));
    assert.equal(verdict, "incomplete", JSON.stringify(findings));
    assert.ok(
      findings.some(({ code }) => code === "indirect-call"),
      JSON.stringify(findings),
    );
    assert.deepEqual([...(await openPickle(beside(value))).keys()], ["weight"]);
  });

for (const [what, value] of Object.entries({
  "the way into Python": act("__class__"),
  "another method of time zones, called": assemble(
    call("builtins.getattr", global("zoneinfo.ZoneInfo"), "from_file"),
    tuple("x"),
    "REDUCE",
  ),
  "a path": act("a.b"),
  "an attribute of an attribute": call("builtins.getattr", act(), "x"),
  "an attribute of a tensor": call("builtins.getattr", tensor(), "data"),
  "a method that is called": assemble(act(), "EMPTY_TUPLE", "REDUCE"),
  "an attribute of a module": call("builtins.getattr", global("torch.nn.modules.linear"), "Linear"),
}))
  test(`getattr for ${what} stays dangerous, and is refused`, async () => {
    assert.equal((await scanned(pickleFile(beside(value)))).verdict, "dangerous");
    await assert.rejects(openPickle(beside(value)), raisesAny);
  });

test("tensors of an object that only a method leads to are not lost", async () => {
  const owner = assemble(
    global("__main__.Net"),
    "EMPTY_TUPLE",
    "NEWOBJ",
    push({ weight: tensor() }),
    "BUILD",
  );
  const value = call("builtins.getattr", owner, "_act");
  await assert.rejects(
    openPickle(beside(value)),
    (error: Error & { code?: string }) => error.code === "UNSUPPORTED",
  );
});

test("a pickle that cannot be followed to its end explains nothing", async () => {
  const value = assemble("MARK", relu, "BINPUT", 0, "EXT1", uint(1, 1));
  const { findings } = await scanned(pickleFile(value));
  assert.ok(
    findings.some(({ code, global }) => code === "forbidden-global" && global === "builtins.getattr"),
  );
});

test("a function of tensors is named, and not called", async () => {
  const value = call("torch.nn.functional.relu", 1);
  const { verdict, findings } = await scanned(pickleFile(value));
  assert.equal(verdict, "incomplete");
  assert.ok(findings.some(({ code }) => code === "function-call"));
});

test("functions that make tensors of any size, or do more, are none of them", () => {
  for (const path of "zeros full arange from_file load compile set_num_threads manual_seed".split(" "))
    assert.notEqual(classifyGlobal("torch", path).role, "inert", path);
});
