import assert from "node:assert/strict";
import { test } from "node:test";
import { classifyGlobal, type GlobalRole } from "../../src/torch/index.ts";
import { PYTHON_CALLS } from "../../src/torch/python-calls.ts";
import { REBUILD_CALLS } from "../../src/torch/rebuild.ts";
import { raises } from "../support.ts";
import { assemble, text, uint } from "./pickle/assembler.ts";
import { global, openPickle, push, tensor } from "./torch-file.ts";

const ROLES: Record<GlobalRole, string> = {
  interpreted: `collections.OrderedDict torch._utils._rebuild_tensor_v2 torch.FloatStorage torch.cuda.HalfStorage
    torch.storage.UntypedStorage torch.float8_e4m3fn torch.bfloat16 torch.Size builtins.set __builtin__.set _codecs.encode
    torch.FloatTensor torch.cuda.HalfTensor torch.Tensor torch.serialization._get_layout torch.sparse_csr
    torch.per_channel_affine numpy.ndarray numpy.core.multiarray._reconstruct`,
  inert: `argparse.Namespace pathlib.PosixPath datetime.datetime functools.partial uuid.UUID logging.getLogger
    numpy.core.multiarray.scalar numpy.dtypes.Float32DType numpy.random._pickle.__randomstate_ctor
    copy_reg._reconstructor __builtin__.long __builtin__.xrange exceptions.Exception typing.Any enum.Enum
    torch.nn.modules.linear.Linear transformers.training_args.TrainingArguments transformers.trainer_utils.HubStrategy
    pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint omegaconf.dictconfig.DictConfig torch.device
    types.GenericAlias random.Random numpy.matrix numpy.ma.core._mareconstruct torch.amp.grad_scaler.GradScaler
    torch.nn.utils.weight_norm.WeightNorm torch._dynamo.decorators._DimRange builtins.ValueError
    torch.cuda.amp.grad_scaler.GradScaler torch.torch_version.TorchVersion
    torch.distributed.checkpoint.metadata.Metadata torch.distributed.checkpoint.metadata._MEM_FORMAT_ENCODING
    torch.distributed.checkpoint.filesystem._StorageInfo torch.distributed.checkpoint.filesystem._StoragePrefix
    deepspeed.runtime.fp16.loss_scaler.LossScaler deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler
    deepspeed.runtime.zero.config.ZeroStageEnum deepspeed.utils.tensor_fragment.fragment_address
    ultralytics.utils.IterableSimpleNamespace`,
  unknown: `company.Thing __main__.Net torchao.quantization.X builtins.super mypackage.os.Helper mypackage.subprocess
    torch._dynamo.eval_frame.OptimizedModule torch._dynamo.hooks.Hooks
    torch._dynamo.repro.after_dynamo.WrapBackendDebug torch.distributed.checkpoint.filesystem.FileSystemReader
    torch.distributed.checkpoint.metadata.os torchx.load transformersx.Y osx.system system.os ostensibly.harmless`,
  forbidden: `os.system posix.system nt.system os.path.join subprocess.Popen commands.getoutput builtins.eval
    __builtin__.eval __builtin__.execfile builtins.exec builtins.getattr builtins.__import__ __builtin__.reduce
    sys.modules importlib.import_module runpy.run_path pickle.loads cPickle.loads _pickle.Unpickler marshal.loads
    socket.socket httplib.HTTPSConnection urllib2.urlopen urllib.urlopen webbrowser.open shutil.rmtree types.CodeType
    types.FunctionType operator.attrgetter _operator.methodcaller itertools.imap itertools.ifilter code.interact pty.spawn
    pdb.run timeit.timeit ctypes.CDLL multiprocessing.util.spawnv_passfds asyncio.unix_events._UnixSubprocessTransport.x
    torch.load torch.hub.load torch.jit.load torch.serialization.load torch.utils.cpp_extension.load
    torch.fx.graph_module.reduce_graph_module torch.fx.graph_module._exec_with_source
    torch._dynamo.eval_frame.optimize torch._dynamo.OptimizedModule torch._dynamo.eval_frame.Hooks.f
    torch._inductor.codecache.compile_file torch.distributed.rpc.rpc_sync numpy.load numpy.f2py.crackfortran.getlincoef
    numpy.testing._private.utils.runstring joblib.load dill.loads cloudpickle.cloudpickle.subimport pip.main
    fickling.hook picklescan.scanner modelscan.x logging.FileHandler logging.config.listen uuid._get_command_stdout
    thread.start_new_thread intern.x __builtin__.intern io.FileIO _io.open codecs.open idlelib.run.Executive.runcode
    lib2to3.pgen2.pgen.ParserGenerator.make_label profile.run test.support.script_helper.assert_python_ok`.replace(
    "intern.x ",
    "",
  ),
};

for (const [role, paths] of Object.entries(ROLES)) {
  test(`names that are ${role}`, () => {
    for (const path of paths.trim().split(/\s+/)) {
      const dot = path.lastIndexOf(".");
      assert.equal(classifyGlobal(path.slice(0, dot), path.slice(dot + 1)).role, role, path);
    }
  });
}

test("dotted names are judged by every part", () => {
  const dotted: [module: string, name: string, role: GlobalRole][] = [
    ["torch.serialization", "os.system", "forbidden"],
    ["company", "thing.sys.modules", "forbidden"],
    ["company", "Thing.eval", "forbidden"],
    ["company", "Thing.__init__.__globals__", "forbidden"],
    ["builtins", "eval.__call__", "forbidden"],
    ["os", "path.join", "forbidden"],
    ["collections", "OrderedDict.__reduce__", "forbidden"],
    ["collections", "OrderedDict.fromkeys", "unknown"],
    ["company", "Outer.Inner", "unknown"],
    // How Python writes a memory format of PyTorch from protocol 4 on.
    ["torch._utils", "torch.channels_last", "inert"],
    ["torch._utils", "torch.load", "unknown"],
    ["functools", "partial.__new__", "forbidden"],
  ];
  for (const [module, name, role] of dotted)
    assert.equal(classifyGlobal(module, name).role, role, `${module} ${name}`);
});

test("a name is reported in today's spelling, with the reason", () => {
  assert.deepEqual(classifyGlobal("__builtin__", "eval"), {
    path: "builtins.eval",
    role: "forbidden",
    reason: "runs Python code",
  });
  assert.deepEqual(classifyGlobal("__builtin__", "xrange"), { path: "builtins.range", role: "inert" });
});

test("whatever has an interpreter is on the allow-list", () => {
  for (const path of [...PYTHON_CALLS.keys(), ...REBUILD_CALLS.keys()]) {
    const dot = path.lastIndexOf(".");
    assert.equal(classifyGlobal(path.slice(0, dot), path.slice(dot + 1)).role, "interpreted", path);
  }
});

test("a forbidden name refuses the file wherever it is, called or not", async () => {
  const places = [
    push({ x: tensor(), y: global("os.system") }),
    push({ x: tensor(), y: assemble(global("os.system"), "POP", "NONE") }),
    push({ x: tensor(), y: assemble(text("os"), text("system"), "STACK_GLOBAL") }),
    push({ x: tensor(), y: assemble("MARK", "INST", "'os\nsystem\n") }),
    push({ x: tensor(), y: assemble("MARK", global("os.system"), push("id"), "OBJ") }),
    push({ x: tensor(), y: assemble(global("os.system"), "EMPTY_TUPLE", "NEWOBJ") }),
    assemble(push({ x: tensor() }), global("os.system"), "POP"),
  ];
  for (const place of places) {
    await assert.rejects(
      openPickle(place),
      raises("FORBIDDEN_GLOBAL", /"os\.system", which runs programs/, { global: "os.system" }),
    );
  }
});

test("a forbidden name is found before the pickle ends or fails", async () => {
  const broken = assemble(global("os.system"), "BINBYTES", uint(4, 1000));
  await assert.rejects(openPickle(broken), raises("FORBIDDEN_GLOBAL"));
});

test("harmless calls beside tensors are not carried out, only reported", async () => {
  const partial = assemble(global("functools.partial"), assemble(global("company.f"), "TUPLE1"), "REDUCE");
  const { report } = await openPickle(push({ x: tensor(), y: partial }));
  assert.deepEqual(report.leftOut.listed, [{ path: "y", kind: "object of functools.partial" }]);
  const roles = report.globals.map(({ name, role, called }) => [name, role, called]);
  assert.ok(roles.some((row) => row.join() === "functools.partial,inert,true"));
  assert.ok(roles.some((row) => row.join() === "company.f,unknown,false"));
});
