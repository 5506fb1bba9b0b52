import { forbiddenReason } from "./forbidden.ts";
import { isTensorFunction } from "./inert-functions.ts";
import { modernName } from "./python2.ts";
import { STORAGE_CLASSES, TENSOR_CLASSES, TORCH_DTYPES } from "./storage.ts";

/**
 * What a name in a pickle is to the reader.
 *
 * - `interpreted`: the reader knows what Python would make of it, and makes the same out of data (interpreter.ts).
 * - `inert`: known from honest checkpoints; stays a node that nothing is done with.
 * - `unknown`: the same, but nobody vouches for it.
 * - `forbidden`: no checkpoint needs it; the file is refused (forbidden.ts).
 */
export type GlobalRole = "interpreted" | "inert" | "unknown" | "forbidden";

export interface KnownGlobal {
  /** The path in today's Python, whatever the pickle's spelling. */
  readonly path: string;
  readonly role: GlobalRole;
  /** For forbidden ones: what it is good for. */
  readonly reason?: string;
}

const words = (text: string): string[] => text.trim().split(/\s+/);

/**
 * The allow-list: the functions and classes that the reader interprets. Each has its code in interpreter.ts or, where an
 * object is a tensor by what was put into it, in tensor-of.ts.
 */
const INTERPRETED: ReadonlySet<string> = new Set([
  ...STORAGE_CLASSES.keys(),
  ...Array.from(TORCH_DTYPES.keys(), (name) => `torch.${name}`),
  ...TENSOR_CLASSES.keys(),
  ...words(`
    torch._utils._rebuild_tensor torch._utils._rebuild_tensor_v2 torch._utils._rebuild_tensor_v3
    torch._utils._rebuild_parameter torch._utils._rebuild_parameter_with_state torch._tensor._rebuild_from_type_v2
    torch._utils._rebuild_qtensor torch._utils._rebuild_sparse_tensor torch._utils._rebuild_sparse_csr_tensor
    torch._utils._rebuild_meta_tensor_no_storage torch._utils._rebuild_nested_tensor
    torch._utils._rebuild_wrapper_subclass torch._utils._rebuild_device_tensor_from_numpy
    torch._utils._rebuild_xla_tensor torch._utils._rebuild_device_tensor_from_cpu_tensor
    torch.nn.parameter.Parameter torch.nn.parameter.Buffer torch.autograd.variable.Variable torch.Size
    torch.serialization._get_layout torch.sparse_coo torch.sparse_csr torch.sparse_csc torch.sparse_bsr
    torch.sparse_bsc torch.per_tensor_affine torch.per_channel_affine torch.per_channel_affine_float_qparams
    numpy.ndarray numpy.dtype numpy.core.multiarray._reconstruct numpy._core.multiarray._reconstruct
    numpy.core.numeric._frombuffer numpy._core.numeric._frombuffer ml_dtypes.bfloat16 ml_dtypes.float8_e4m3fn
    ml_dtypes.float8_e4m3fnuz ml_dtypes.float8_e5m2 ml_dtypes.float8_e5m2fnuz ml_dtypes.float8_e8m0fnu
    torch.storage._load_from_bytes
    torch.jit._pickle.build_intlist torch.jit._pickle.build_doublelist torch.jit._pickle.build_boollist
    torch.jit._pickle.build_tensorlist torch.jit._pickle.build_tensor_from_id torch.jit._pickle.restore_type_tag
    collections.OrderedDict collections.defaultdict collections.Counter _codecs.encode
    builtins.set builtins.frozenset builtins.list builtins.dict builtins.tuple builtins.bytes`),
]);

/** Names of honest checkpoints that stay inert. An exact path here wins over a forbidden module. */
const INERT: ReadonlySet<string> = new Set(
  words(`
    builtins.bytearray builtins.str builtins.int builtins.float builtins.complex builtins.bool builtins.object
    builtins.slice builtins.range builtins.type builtins.zip builtins.Exception
    builtins.Ellipsis builtins.NotImplemented collections.deque collections.UserDict copyreg._reconstructor copyreg.__newobj__ copyreg.__newobj_ex__
    functools.partial uuid.UUID logging.getLogger types.SimpleNamespace decimal.Decimal fractions.Fraction
    argparse.Namespace io.BytesIO _io.BytesIO typing.Any types.GenericAlias random.Random collections.ChainMap
    collections.UserList
    datetime.datetime datetime.date datetime.time datetime.timedelta datetime.timezone
    zoneinfo.ZoneInfo zoneinfo.ZoneInfo._unpickle
    pathlib.Path pathlib.PosixPath pathlib.PurePosixPath pathlib.WindowsPath pathlib.PureWindowsPath
    pathlib._local.PosixPath pathlib._local.PurePosixPath pathlib._local.WindowsPath
    torch.device torch.storage.TypedStorage torch.strided torch.contiguous_format torch.preserve_format torch.channels_last torch.channels_last_3d
    torch.per_tensor_symmetric torch.per_channel_symmetric torch._C.Generator torch._C._CudaDeviceProperties
    torch._utils.torch.contiguous_format torch._utils.torch.preserve_format torch._utils.torch.channels_last
    torch._utils.torch.channels_last_3d torch._dynamo.decorators._DimRange
    torch.utils.data.dataset.TensorDataset torch.utils.data.dataset.Subset torch.nn.utils.rnn.PackedSequence
    torch.nn.utils.weight_norm.WeightNorm torch.nn.utils.spectral_norm.SpectralNorm
    torch.nn.utils.spectral_norm.SpectralNormStateDictHook
    torch.nn.utils.spectral_norm.SpectralNormLoadStateDictPreHook
    torch.amp.grad_scaler.GradScaler torch.amp.grad_scaler._refresh_per_optimizer_state
    numpy.matrix numpy.record numpy.rec.recarray numpy.ma.MaskedArray numpy.ma.core.MaskedConstant numpy.ma.core._mareconstruct
    numpy.core.multiarray.scalar numpy._core.multiarray.scalar numpy.random.mtrand.RandomState
    numpy.random._pickle.__randomstate_ctor
    numpy.random._pickle.__bit_generator_ctor numpy.random._pickle.__generator_ctor
    numpy.random.bit_generator.__pyx_unpickle_SeedSequence numpy._core._internal._convert_to_stringdtype_kwargs
    torch._C._VariableFunctionsClass torch._C._VariableFunctions
    numpy.bool_ numpy.bool numpy.int64 numpy.int32 numpy.int16 numpy.int8 numpy.uint64 numpy.uint32 numpy.uint16
    numpy.uint8 numpy.float64 numpy.float32 numpy.float16 numpy.complex64 numpy.complex128 numpy.str_
    ml_dtypes.bfloat16 ml_dtypes.float8_e3m4 ml_dtypes.float8_e4m3 ml_dtypes.float8_e4m3b11fnuz
    ml_dtypes.float8_e4m3fn ml_dtypes.float8_e4m3fnuz ml_dtypes.float8_e5m2 ml_dtypes.float8_e5m2fnuz
    ml_dtypes.float8_e8m0fnu ml_dtypes.float4_e2m1fn ml_dtypes.int4 ml_dtypes.uint4 ml_dtypes.int2 ml_dtypes.uint2
    torch.distributed.tensor.DTensor torch.distributed.tensor.DeviceMesh torch.distributed.tensor.Shard
    torch.distributed.tensor.Replicate torch.distributed.tensor.Partial
    torch.distributed.checkpoint.filesystem._StorageInfo torch.distributed.checkpoint.filesystem._StoragePrefix
    torch.cuda.amp.grad_scaler.GradScaler torch.torch_version.TorchVersion builtins.ValueError
    deepspeed.runtime.fp16.loss_scaler.LossScaler deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler
    deepspeed.runtime.zero.config.ZeroStageEnum deepspeed.utils.tensor_fragment.fragment_address
    ultralytics.utils.IterableSimpleNamespace
    joblib.numpy_pickle.NumpyArrayWrapper`),
);

/** The tensor classes of old pickles: `torch.FloatTensor`, `torch.cuda.HalfTensor`, `torch.sparse.LongTensor`. */
const TENSOR_CLASS = /^torch\.(?:cuda\.)?(?:sparse\.)?[A-Z]\w*Tensor$/;

/**
 * Modules and packages whose classes are common in training checkpoints. What is named in or below them stays inert if
 * it is named like a class: their functions read files and run code (`transformers.AutoModel.from_pretrained`).
 */
const INERT_PACKAGES: ReadonlySet<string> = new Set(
  words(`
    enum numpy.dtypes numpy.random omegaconf.dictconfig omegaconf.listconfig omegaconf.base omegaconf.nodes
    pytorch_lightning.callbacks pytorch_lightning.utilities.parsing pytorch_lightning.utilities.types
    pytorch_lightning.utilities.enums pytorch_lightning.loops pytorch_lightning.trainer.states
    lightning.pytorch.callbacks lightning.pytorch.utilities.parsing lightning.pytorch.utilities.types
    lightning.pytorch.utilities.enums lightning.pytorch.loops
    lightning.pytorch.trainer.states lightning.fabric.utilities.data lightning_fabric.utilities.data
    transformers.training_args transformers.training_args_seq2seq transformers.trainer_utils
    transformers.trainer_pt_utils transformers.configuration_utils transformers.generation.configuration_utils
    transformers.activations transformers.integrations.deepspeed transformers.utils.generic transformers.utils.quantization_config
    accelerate.state accelerate.utils.dataclasses tokenizers peft.tuners peft.utils.peft_types
    fairseq.dataclass easydict addict ml_collections.config_dict torch.nn.modules torch.nn.parameter torch.nn.parallel torch.optim
    torch.distributed.tensor._api torch.distributed.tensor._dtensor_spec torch.distributed.tensor.placement_types
    torch.distributed.device_mesh torch.distributed._shard.sharded_tensor torch.distributed.checkpoint.metadata
    torchvision.models timm.models timm.layers ultralytics.nn.modules ultralytics.nn.tasks`),
);

/** Configuration classes of models and trainers; other classes of these modules read files. */
const CONFIGURATION =
  /^(?:transformers\.models\.\w+\.configuration_\w+|trl\.trainer\.\w+_config)\.\w+Config$/;

/** Classes of what torch.compile made of a module, in modules that run code. Making their objects calls what is in them. */
const COMPILED =
  /^torch\._dynamo\.(?:eval_frame|convert_frame|hooks|repro\.after_dynamo)\.[A-Z][A-Za-z0-9]*$/;

/** Whether it is a class of TorchScript: its code is in the archive, and nobody looks at it. */
export function isScriptClass(path: string): boolean {
  return path.startsWith("__torch__.");
}

/** What the name that a pickle asks for is. */
export function classifyGlobal(module: string, name: string): KnownGlobal {
  const modern = modernName(module, name);
  const path = `${modern.module}.${modern.name}`;
  if (INTERPRETED.has(path) || isScriptClass(path)) return { path, role: "interpreted" };
  if (INERT.has(path) || TENSOR_CLASS.test(path) || isTensorFunction(path)) return { path, role: "inert" };
  if (COMPILED.test(path)) return { path, role: "unknown" };
  const reason = forbiddenReason(modern.module, modern.name) ?? forbiddenReason(module, name);
  if (reason !== undefined) return { path, role: "forbidden", reason };
  return { path, role: isKnownClass(modern.module, modern.name) ? "inert" : "unknown" };
}

/** What is named like a class in those modules, and is a module or the way to the network. */
const NO_CLASSES: ReadonlySet<string> = new Set(["F", "_VF", "_Reduction", "RRef"]);

function isKnownClass(module: string, name: string): boolean {
  if (NO_CLASSES.has(name) || !/^_?[A-Z][A-Za-z0-9_]*$/.test(name)) return false;
  return isBelow(module, INERT_PACKAGES) || CONFIGURATION.test(`${module}.${name}`);
}

function isBelow(module: string, packages: ReadonlySet<string>): boolean {
  for (let end = module.length; end > 0; end = module.lastIndexOf(".", end - 1)) {
    if (packages.has(module.slice(0, end))) return true;
  }
  return false;
}
