import { forbiddenReason } from "./forbidden.ts";
import { modernName } from "./python2.ts";
import { STORAGE_CLASSES, TORCH_DTYPES } from "./storage.ts";

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

/** The allow-list: the functions and classes that the reader interprets. Each has its code in interpreter.ts. */
const INTERPRETED: ReadonlySet<string> = new Set([
  ...STORAGE_CLASSES.keys(),
  ...Array.from(TORCH_DTYPES.keys(), (name) => `torch.${name}`),
  ...words(`
    torch._utils._rebuild_tensor torch._utils._rebuild_tensor_v2 torch._utils._rebuild_tensor_v3
    torch._utils._rebuild_parameter torch._utils._rebuild_parameter_with_state torch._tensor._rebuild_from_type_v2
    torch._utils._rebuild_qtensor torch._utils._rebuild_sparse_tensor torch._utils._rebuild_sparse_csr_tensor
    torch._utils._rebuild_meta_tensor_no_storage torch._utils._rebuild_nested_tensor
    torch._utils._rebuild_wrapper_subclass torch._utils._rebuild_device_tensor_from_numpy
    torch._utils._rebuild_xla_tensor torch._utils._rebuild_device_tensor_from_cpu_tensor
    torch.Tensor torch.nn.parameter.Parameter torch.nn.parameter.Buffer torch.Size
    collections.OrderedDict collections.defaultdict collections.Counter _codecs.encode
    builtins.set builtins.frozenset builtins.list builtins.dict builtins.tuple builtins.bytes`),
]);

/** Names of honest checkpoints that stay inert. An exact path here wins over a forbidden module. */
const INERT: ReadonlySet<string> = new Set(
  words(`
    builtins.bytearray builtins.str builtins.int builtins.float builtins.complex builtins.bool builtins.object
    builtins.slice builtins.range builtins.type builtins.zip builtins.Exception
    collections.deque collections.UserDict copyreg._reconstructor copyreg.__newobj__ copyreg.__newobj_ex__
    functools.partial uuid.UUID logging.getLogger types.SimpleNamespace decimal.Decimal fractions.Fraction
    argparse.Namespace io.BytesIO _io.BytesIO typing.Any
    pathlib.Path pathlib.PosixPath pathlib.PurePosixPath pathlib.WindowsPath pathlib.PureWindowsPath
    pathlib._local.PosixPath pathlib._local.PurePosixPath pathlib._local.WindowsPath
    torch.device torch.storage._load_from_bytes torch.storage.TypedStorage torch.serialization._get_layout
    torch.strided torch.sparse_coo torch.sparse_csr torch.contiguous_format torch.preserve_format
    torch.channels_last torch.channels_last_3d torch.per_tensor_affine torch.per_channel_affine
    torch.per_tensor_symmetric torch.per_channel_symmetric torch.per_channel_affine_float_qparams
    torch._C.Generator torch._C._CudaDeviceProperties
    numpy.ndarray numpy.dtype numpy.core.multiarray._reconstruct numpy._core.multiarray._reconstruct
    numpy.core.multiarray.scalar numpy._core.multiarray.scalar numpy.core.numeric._frombuffer
    numpy._core.numeric._frombuffer numpy.random.mtrand.RandomState numpy.bool_ numpy.int64 numpy.int32
    numpy.float64 numpy.float32 numpy.float16 numpy.str_`),
);

/** Packages whose classes are common in training checkpoints. All that is below stays inert. */
const INERT_PACKAGES: ReadonlySet<string> = new Set(
  words(`
    datetime enum numpy.dtypes numpy.random._pickle omegaconf pytorch_lightning lightning lightning_fabric
    transformers accelerate tokenizers trl peft fairseq easydict addict ml_collections yaml
    torch.nn.modules torch.optim torch.distributed.tensor torch.distributed.device_mesh
    torch.distributed._shard.sharded_tensor torchvision.models timm ultralytics.nn`),
);

/** What the name that a pickle asks for is. */
export function classifyGlobal(module: string, name: string): KnownGlobal {
  const modern = modernName(module, name);
  const path = `${modern.module}.${modern.name}`;
  if (INTERPRETED.has(path)) return { path, role: "interpreted" };
  if (INERT.has(path)) return { path, role: "inert" };
  const reason = forbiddenReason(modern.module, modern.name) ?? forbiddenReason(module, name);
  if (reason !== undefined) return { path, role: "forbidden", reason };
  return { path, role: isBelow(modern.module, INERT_PACKAGES) ? "inert" : "unknown" };
}

function isBelow(module: string, packages: ReadonlySet<string>): boolean {
  for (let end = module.length; end > 0; end = module.lastIndexOf(".", end - 1)) {
    if (packages.has(module.slice(0, end))) return true;
  }
  return false;
}
