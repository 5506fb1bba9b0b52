/**
 * Modules and names that no checkpoint needs and that an attacker does, by what they are good for. An entry stands for
 * everything below it. The union of what picklescan, fickling and modelaudit refuse, in the spelling of Python 3 (see
 * python2.ts), without what honest checkpoints name (globals.ts): `functools.partial`, `uuid.UUID` and the like do
 * nothing by themselves, and what they are given is judged by its own name.
 */
const GROUPS: readonly (readonly [reason: string, paths: string])[] = [
  [
    "runs programs",
    `os posix nt subprocess commands _posixsubprocess popen2 pty pipes pexpect sh plumbum multiprocessing
    _multiprocessing concurrent.futures asyncio torch.multiprocessing webbrowser _osx_support _aix_support signal
    _signal`,
  ],
  [
    "runs Python code",
    `builtins.eval builtins.exec builtins.execfile builtins.compile builtins.breakpoint builtins.input builtins.help
    builtins.apply code codeop runpy timeit bdb pdb profile cProfile trace doctest pydoc unittest test site idlelib
    lib2to3 _pyrepl py_compile compileall types new numpy.f2py numpy.distutils numpy.testing torch.compile torch.jit
    torch.ops torch.classes torch.package torch._dynamo torch._inductor torch.utils.cpp_extension
    torch.utils.bottleneck torch.utils.collect_env torch.utils._config_module
    torch.utils.data.datapipes.utils.decoder torch.fx.experimental.symbolic_shapes torch.fx.graph_module
    torch.fx._lazy_graph_module`,
  ],
  [
    "imports modules",
    `builtins.__import__ builtins.reload __builtins__ importlib ihooks _frozen_importlib _frozen_importlib_external
    imp _imp zipimport pkgutil pkg_resources ensurepip pip venv setuptools distutils torch.hub`,
  ],
  [
    "reaches attributes and state of the interpreter",
    `builtins.getattr builtins.setattr builtins.delattr builtins.globals builtins.locals builtins.vars builtins.dir
    builtins.map builtins.filter builtins.__builtins__ operator _operator functools.reduce inspect gc sys ctypes
    _ctypes cffi atexit threading _thread thread _interpreters _xxsubinterpreters copyreg.add_extension
    copyreg.pickle copyreg.constructor platform linecache difflib`,
  ],
  [
    "opens files",
    `builtins.open builtins.file io.open io.open_code io.FileIO _io.open _io.open_code _io.FileIO _pyio codecs.open
    shutil tempfile fileinput filecmp glob mmap tarfile zipfile shelve dbm sqlite3 _sqlite3 logging syslog
    numpy.load numpy.save numpy.savez numpy.savetxt numpy.loadtxt numpy.genfromtxt numpy.fromfile numpy.memmap
    numpy.lib.npyio numpy.lib.format numpy.lib._npyio_impl numpy.ctypeslib numpy.DataSource torch.save
    torch.from_file`,
  ],
  [
    "uses the network",
    `socket _socket ssl _ssl socketserver select selectors http httplib urllib urllib2 urllib3 requests aiohttp
    httpx ftplib smtplib poplib imaplib nntplib telnetlib xmlrpc uuid torch.distributed.rpc`,
  ],
  [
    "reads pickles",
    `pickle _pickle cPickle pickletools marshal dill cloudpickle joblib pandas.read_pickle pandas.io.pickle
    jsonpickle yaml.load yaml.load_all yaml.unsafe_load yaml.unsafe_load_all yaml.full_load yaml.full_load_all
    torch.load torch.serialization.load torch.serialization._load torch.serialization._legacy_load
    torch.serialization.unsafe_load`,
  ],
  [
    "is an internal module of Python that no checkpoint needs",
    `_abc _ast _asyncio _bisect _blake2 _bootsubprocess _bz2 _codecs _collections _collections_abc _compat_pickle
    _compression _contextvars _csv _curses _datetime _dbm _decimal _elementtree _functools _gdbm _hashlib _heapq _io
    _json _locale _lsprof _lzma _markupbase _opcode _posixshmem _py_abc _pydatetime _pydecimal _pylong _queue
    _random _remote_debugging _sha1 _sha2 _sitebuiltins _sre _stat _statistics _string _strptime _struct _symtable
    _sysconfig _threading_local _tkinter _tracemalloc _typing _uuid _warnings _weakref _weakrefset _winapi
    _xxinterpchannels _zoneinfo`,
  ],
  [
    "switches a scanner off",
    "fickling picklescan modelscan model_unpickler saferpickle modelaudit modelaudit_picklescan",
  ],
];

const FORBIDDEN: ReadonlyMap<string, string> = new Map(
  GROUPS.flatMap(([reason, paths]) => paths.split(/\s+/).map((path) => [path, reason] as const)),
);

/** Why a global is refused; nothing for those that are not. */
export function forbiddenReason(module: string, name: string): string | undefined {
  const path = `${module}.${name}`;
  for (let dot = path.indexOf("."); dot >= 0; dot = path.indexOf(".", dot + 1)) {
    const reason = FORBIDDEN.get(path.slice(0, dot));
    if (reason !== undefined) return reason;
  }
  if (FORBIDDEN.has(path)) return FORBIDDEN.get(path);
  // From protocol 4 on, a dotted name walks through attributes: `torch.serialization` + `os.system`.
  const attributes = name.split(".");
  if (attributes.length === 1) return undefined;
  if (attributes.some((attribute) => /^__.*__$/.test(attribute))) return "reaches into an object";
  return attributes
    .map((attribute) => FORBIDDEN.get(attribute) ?? FORBIDDEN.get(`builtins.${attribute}`))
    .find((reason) => reason !== undefined);
}
