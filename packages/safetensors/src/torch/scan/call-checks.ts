import { quote } from "../../errors.ts";
import type { KnownGlobal } from "../globals.ts";
import { isTensorFunction } from "../inert-functions.ts";
import { ObjectNode, PyBytes, PyTuple } from "../pickle/containers.ts";
import { GlobalRef, type PickleValue } from "../pickle/values.ts";
import type { FindingCode } from "./finding.ts";
import { MAX_DIMENSIONS } from "./numpy-types.ts";
import type { KnownOf, PlainData } from "./plain-data.ts";
import { setsMethods, tensorParts } from "./tensor-parts.ts";

/** What is wrong with a call. */
export type CallFault = readonly [code: FindingCode, message: string];

/** What is wrong with a call of these arguments; nothing for most. */
export type CallCheck = (items: readonly PickleValue[], hasKeywords: boolean) => CallFault | undefined;

/** Encodings in which pickles of Python 2 and old protocols write bytes. */
const CODECS = new Set(["latin1", "latin-1", "utf-8", "utf8", "ascii"]);

/**
 * Classes of models, optimizers and data sets. Pickles make their objects without the constructors, some of which read
 * files, run code, or call methods of their arguments.
 */
const MODEL_CLASS =
  /^(?:torch\.(?:nn\.(?:modules|parallel)|optim|utils\.data)|transformers\.activations|torchvision|timm|ultralytics|peft\.tuners(?!(?:\.\w+)*\.config\.))\./;

/** What the pickles of old PyTorch and TorchScript hand their data through. */
const PASSES_ON = /^torch\.jit\._pickle\./;

/** The only objects whose class Python's pickler asks for. */
const SINGLETONS = new Set(["builtins.Ellipsis", "builtins.NotImplemented"]);

/** Constructors of NumPy's generators: they call their last argument. */
const GENERATOR_MAKER = /^numpy\.random\._pickle\.__(?:bit_generator|generator|randomstate)_ctor$/;

/** NumPy's arrays, which can be made over any memory. Pickles make empty ones, of bytes. */
const ARRAYS = new Set(
  ["ndarray", "matrix", "rec.recarray", "ma.MaskedArray"].map((name) => `numpy.${name}`),
);

/** Storages and tensors, which can be made with a size. */
const SIZED = /^torch\.(?:\w+\.)*\w*(?:Storage|Tensor)$/;

/** What makes as many items as its argument says. */
const CONTAINERS = new Set([
  ..."bytearray bytes list tuple set frozenset dict".split(" ").map((name) => `builtins.${name}`),
  ..."deque Counter UserList".split(" ").map((name) => `collections.${name}`),
  "numpy.record",
]);

/** Calls that make data of what they are given: no number, and no tensor, which can stand for one. */
const MAKES_DATA =
  /^(?:_codecs\.encode|builtins\.(?:bytearray|bytes|str|list|tuple|set|frozenset|dict)|collections\.\w+)$/;

/** Classes and functions that keep what they are given, call nothing of it, or are looked at in another way. */
const KEEPS_OBJECTS =
  /^(?:builtins\.(?:type|object|slice|zip|Exception|ValueError)|collections\.defaultdict|copyreg\.\w+|functools\.partial|types\.GenericAlias|numpy\..+|torch\.(?:jit\._pickle\.\w+|storage\._load_from_bytes|_tensor\._rebuild_from_type_v2))$/;

/** Containers keep what is in their argument, but may call methods of the argument itself. */
const KEEPS_ITEMS = /^(?:builtins|collections)\.\w+$/;

/** Constructors of PyTorch, and functions that make tensors. */
const OF_TENSORS = /^torch\./;

/** Constructors of numbers, and what they take: `float` has no long numbers, the others may take forever. */
const NUMBER = /^(?:builtins\.int|fractions\.Fraction|decimal\.Decimal)$/;
const SHORT_NUMBER = /^[^eE]{0,4300}(?:[eE][+-]?\d{1,4})?$/;

/** What must be looked at in every call of a name: found once for each, as a pickle calls few names very often. */
export function callChecks(known: KnownGlobal, knownOf: KnownOf, data: PlainData): CallCheck[] {
  const { path, role } = known;
  const isKnown = role === "inert" || role === "interpreted";
  const pathOf = (value: PickleValue | undefined): string => knownOf(value)?.path ?? "";
  const checks: CallCheck[] = [];
  const check = (
    applies: boolean,
    isWrong: (items: readonly PickleValue[]) => boolean,
    ...fault: CallFault
  ) => {
    if (applies) checks.push((items) => (isWrong(items) ? fault : undefined));
  };
  check(
    role === "inert" && MODEL_CLASS.test(path),
    (items) => items.length > 0,
    "constructor-call",
    `runs the constructor of ${quote(path)} with arguments`,
  );
  check(
    takesData(known) && !MODEL_CLASS.test(path),
    (items) => items.length > 0 && !data.holds(items),
    "constructor-call",
    `runs the constructor of ${quote(path)} with objects`,
  );
  check(
    isKnown && KEEPS_ITEMS.test(path) && !KEEPS_OBJECTS.test(path),
    (items) => items.some((item) => item instanceof ObjectNode && !data.holds([item])),
    "constructor-call",
    `runs the constructor of ${quote(path)} with an object`,
  );
  const areTensorParts = tensorParts(knownOf, data);
  const hasState = path === "torch._utils._rebuild_parameter_with_state";
  check(
    role === "interpreted" && OF_TENSORS.test(path) && !KEEPS_OBJECTS.test(path),
    (items) => !areTensorParts(hasState ? items.slice(0, 3) : items),
    "constructor-call",
    `makes a tensor of an object by ${quote(path)}`,
  );
  check(
    hasState || path === "torch._tensor._rebuild_from_type_v2",
    ([, , , state]) => setsMethods(state, data),
    "indirect-call",
    "sets methods of a tensor",
  );
  check(
    NUMBER.test(path),
    (items) => items.some((item) => typeof item === "string" && !SHORT_NUMBER.test(item)),
    "allocation",
    "takes as much memory as a number in text says",
  );
  check(
    ARRAYS.has(path),
    (items) => !isEmptyArray(items, pathOf),
    "constructor-call",
    "makes an array of more than a shape and a plain type",
  );
  check(
    ARRAYS.has(path),
    ([shape]) =>
      isLarge(shape, pathOf) || (shape instanceof PyTuple && !(isShort(shape) && shape.items.includes(0))),
    "allocation",
    "takes as much memory as a shape says",
  );
  check(
    path === "numpy.ma.core.MaskedConstant",
    (items) => items.length > 0,
    "constructor-call",
    "makes another array of the one that stands for what is masked",
  );
  check(
    CONTAINERS.has(path) || SIZED.test(path),
    ([size]) => isLarge(size, pathOf),
    "allocation",
    "takes as much memory as a number says",
  );
  check(
    PASSES_ON.test(path),
    ([value]) => value instanceof GlobalRef,
    "indirect-call",
    "hands on what is no data",
  );
  check(
    GENERATOR_MAKER.test(path),
    (items) => items.some((item) => !isGenerator(item, pathOf)),
    "indirect-call",
    "makes a random generator of something else",
  );
  check(
    path === "torch._tensor._rebuild_from_type_v2",
    ([value]) => !isRebuild(knownOf(value)),
    "indirect-load",
    "calls what is no function that makes a tensor",
  );
  check(path === "builtins.type", (items) => items.length !== 1, "made-class", "makes a class");
  check(
    path === "builtins.type",
    ([value, ...rest]) =>
      rest.length === 0 && value !== undefined && value !== null && !SINGLETONS.has(pathOf(value)),
    "indirect-call",
    "takes the class of an object",
  );
  check(/^enum\.Enum(?:Meta|Type)$/.test(path), () => true, "made-class", "makes a class");
  check(path.startsWith("enum."), (items) => items.length > 1, "made-class", "makes a class");
  check(
    path === "_codecs.encode",
    (items) => items.length !== 2 || !CODECS.has(String(items[1])),
    "odd-codec",
    "decodes text with an unusual codec",
  );
  // Keywords are the items of a dict, the base of a number in text, and settings for all others.
  if (checks.length > 0 && !/^builtins\.(?:dict|int)$/.test(path))
    checks.push((_, hasKeywords) =>
      hasKeywords ? ["constructor-call", `makes ${quote(path)} with keyword arguments`] : undefined,
    );
  return checks;
}

/** Whether nothing honest hands it objects, and nobody knows what it calls of them. */
function takesData({ path, role }: KnownGlobal): boolean {
  return (
    role === "inert" &&
    ![KEEPS_OBJECTS, KEEPS_ITEMS].some((keeps) => keeps.test(path)) &&
    !isTensorFunction(path)
  );
}

/** A number, or what may stand for one, or for a range of numbers. */
function isLarge(value: PickleValue | undefined, pathOf: (value: PickleValue) => string): boolean {
  if (typeof value === "number" || typeof value === "bigint") return true;
  return value instanceof ObjectNode && !MAKES_DATA.test(pathOf(value.callable));
}

/** A shape of numbers, and a type as text that holds no objects. */
function isEmptyArray(
  [shape, type, ...more]: readonly PickleValue[],
  pathOf: (value: PickleValue) => string,
): boolean {
  const isShape =
    shape instanceof PyTuple && isShort(shape) && shape.items.every((size) => typeof size === "number");
  const text =
    type instanceof ObjectNode && pathOf(type.callable) === "_codecs.encode" ? type.args.items[0] : type;
  const letters = text instanceof PyBytes ? String.fromCharCode(...text.bytes.subarray(0, 9)) : text;
  const isPlain =
    letters === undefined || (typeof letters === "string" && /^[bB?hHiIlLqQfdFD\d<>|=]{1,8}$/.test(letters));
  return isShape && isPlain && more.length === 0;
}

/** Whether it is no longer than NumPy allows: many calls may share a shape. */
function isShort(shape: PyTuple): boolean {
  return shape.items.length <= MAX_DIMENSIONS;
}

/** The name of a bit generator, its class, an object of it, or the function that makes one. */
function isGenerator(
  value: PickleValue | undefined,
  pathOf: (value: PickleValue | undefined) => string,
): boolean {
  const maker = value instanceof ObjectNode ? value.callable : value;
  return typeof value === "string" || pathOf(maker).startsWith("numpy.random.");
}

function isRebuild(known: KnownGlobal | undefined): boolean {
  return known?.role === "interpreted" && known.path.startsWith("torch._utils._rebuild_");
}
