import assert from "node:assert/strict";
import { test } from "node:test";
import { classifyGlobal } from "../../../src/torch/globals.ts";

/** What other scanners refuse, by who does. A module stands for all of its names. */
const REFUSED: Readonly<Record<string, { readonly modules: string; readonly names: string }>> = {
  picklescan: {
    modules: `aiohttp asyncio bdb commands ctypes httplib numpy.f2py numpy.testing._private.utils nt posix os requests.api
      runpy shutil socket ssl subprocess sys cProfile profile distutils.file_util pdb pickle _pickle pip pty pydoc test
      timeit urllib.request uuid venv webbrowser _osx_support _aix_support _pyrepl`,
    names: `builtins.eval builtins.compile builtins.getattr builtins.apply builtins.exec builtins.open builtins.breakpoint
      __builtin__.eval __builtin__.compile __builtin__.getattr __builtin__.apply __builtin__.exec __builtin__.open
      cloudpickle.cloudpickle._builtin_type cloudpickle.cloudpickle._make_function
      cloudpickle.cloudpickle._function_setstate cloudpickle.cloudpickle._make_cell
      cloudpickle.cloudpickle._make_empty_cell cloudpickle.cloudpickle.subimport types.CodeType logging.FileHandler
      _io.FileIO operator.attrgetter operator.itemgetter operator.methodcaller _operator.attrgetter
      _operator.itemgetter _operator.methodcaller code.InteractiveInterpreter.runcode doctest.debug_script
      ensurepip._run_pip imaplib.IMAP4_stream pkgutil.resolve_name trace.Trace.run trace.Trace.runctx
      idlelib.autocomplete.AutoComplete.get_entity idlelib.autocomplete.AutoComplete.fetch_completions
      idlelib.calltip.Calltip.fetch_tip idlelib.calltip.get_entity idlelib.debugobj.ObjectTreeItem.SetText
      idlelib.pyshell.ModifiedInterpreter.runcode idlelib.pyshell.ModifiedInterpreter.runcommand
      idlelib.run.Executive.runcode lib2to3.pgen2.grammar.Grammar.loads
      lib2to3.pgen2.pgen.ParserGenerator.make_label torch._dynamo.guards.GuardBuilder.get
      torch._inductor.codecache.compile_file
      torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression
      torch.jit.unsupported_tensor_ops.execWrapper torch.serialization.load
      torch.utils._config_module.ConfigModule.load_config torch.utils.bottleneck.__main__.run_cprofile
      torch.utils.bottleneck.__main__.run_autograd_prof torch.utils.collect_env.run
      torch.utils.data.datapipes.utils.decoder.basichandlers`,
  },
  fickling: {
    modules: `__builtins__ multiprocessing _posixsubprocess code codeop marshal types _interpreters _xxsubinterpreters
      importlib _frozen_importlib _frozen_importlib_external _imp imp zipimport gc site unittest inspect http urllib
      urllib2 smtplib ftplib poplib telnetlib nntplib _ctypes dill cloudpickle joblib tempfile filecmp pexpect pipes
      idlelib lib2to3 socketserver xmlrpc signal _signal threading _thread atexit sqlite3 _sqlite3 fileinput glob
      platform linecache difflib compileall py_compile mmap select selectors logging syslog tarfile zipfile shelve
      torch.hub torch._dynamo torch._inductor torch.jit numpy.distutils _socket _ssl _io _csv _json _lzma _bz2`,
    names: "torch.load torch.compile",
  },
  modelaudit: {
    modules: "pip._vendor.distlib.scripts webbrowser shelve torch.distributed.rpc",
    names: `torch.distributed.rpc.rpc_sync torch.distributed.rpc.rpc_async torch.distributed.rpc.remote
      torch.distributed.rpc.RemoteModule torch.jit.annotations.parse_type_line joblib.load`,
  },
  "who attacks scanners": {
    modules: "fickling picklescan modelscan model_unpickler saferpickle modelaudit",
    names: "",
  },
};

const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== "");

for (const [who, { modules, names }] of Object.entries(REFUSED)) {
  test(`what is refused because of ${who}`, () => {
    for (const module of words(modules)) {
      for (const name of ["anything", "Any_Thing", "_x"])
        assert.equal(classifyGlobal(module, name).role, "forbidden", `${module}.${name}`);
      assert.equal(classifyGlobal(`${module}.below`, "x").role, "forbidden", `${module}.below`);
    }
    for (const path of words(names)) {
      // However the path is split into a module and a name.
      for (let dot = path.indexOf("."); dot > 0; dot = path.indexOf(".", dot + 1)) {
        const role = classifyGlobal(path.slice(0, dot), path.slice(dot + 1)).role;
        assert.equal(role, "forbidden", `${path} split at ${dot}`);
      }
    }
  });
}

test("functions of known packages are not known", () => {
  for (const path of words(`transformers.pipeline transformers.AutoModel.from_pretrained yaml.load accelerate.utils.load
      fairseq.checkpoint_utils.load_checkpoint_to_cpu ultralytics.nn.tasks.attempt_load_weights
      pytorch_lightning.utilities.cli.LightningCLI transformers.models.rag.retrieval_rag.LegacyIndex
      transformers.trainer.Trainer trl.trainer.sft_trainer.SFTTrainer timm.models.load_checkpoint
      omegaconf.OmegaConf.load tokenizers.Tokenizer.from_file`)) {
    const dot = path.lastIndexOf(".");
    const role = classifyGlobal(path.slice(0, dot), path.slice(dot + 1)).role;
    assert.ok(role === "unknown" || role === "forbidden", `${path} is ${role}`);
  }
});
