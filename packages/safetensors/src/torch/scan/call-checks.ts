import { quote } from "../../errors.ts";
import type { KnownGlobal } from "../globals.ts";
import { ObjectNode } from "../pickle/containers.ts";
import { GlobalRef, type PickleValue } from "../pickle/values.ts";
import type { FindingCode } from "./finding.ts";

/** What is wrong with a call. */
export type CallFault = readonly [code: FindingCode, message: string];

/** What is wrong with a call of these arguments; nothing for most. */
export type CallCheck = (items: readonly PickleValue[]) => CallFault | undefined;

/** What a value is if it is a name. */
type KnownOf = (value: PickleValue | undefined) => KnownGlobal | undefined;

/** Encodings in which pickles of Python 2 and old protocols write bytes. */
const CODECS = new Set(["latin1", "latin-1", "utf-8", "utf8", "ascii"]);

/** Classes of models and optimizers. Pickles make their objects without the constructors, some of which read files and run code. */
const MODEL_CLASS =
  /^(?:torch\.(?:nn\.(?:modules|parallel)|optim)|transformers\.activations|torchvision|timm|ultralytics)\./;

/** What the pickles of old PyTorch and TorchScript hand their data through. */
const PASSES_ON = /^torch\.jit\._pickle\./;

/** The only objects whose class Python's pickler asks for. */
const SINGLETONS = new Set(["builtins.Ellipsis", "builtins.NotImplemented"]);

/** Constructors of NumPy's generators: they call their last argument. */
const GENERATOR_MAKER = /^numpy\.random\._pickle\.__(?:bit_generator|generator|randomstate)_ctor$/;

/** Storages and tensors, which can be made with a size. */
const SIZED = /^torch\.(?:\w+\.)*\w+(?:Storage|Tensor)$/;

/** What makes as many items as its argument says. */
const CONTAINERS = new Set([
  ..."bytearray bytes list tuple set frozenset dict".split(" ").map((name) => `builtins.${name}`),
  "collections.deque",
]);

/** What must be looked at in every call of a name: found once for each, as a pickle calls few names very often. */
export function callChecks({ path, role }: KnownGlobal, knownOf: KnownOf): CallCheck[] {
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
  check(
    path === "_codecs.encode",
    (items) => items.length !== 2 || !CODECS.has(String(items[1])),
    "odd-codec",
    "decodes text with an unusual codec",
  );
  if (path === "copyreg._reconstructor")
    checks.push(([, base]) =>
      MODEL_CLASS.test(pathOf(base))
        ? ["constructor-call", `runs the constructor of ${quote(pathOf(base))}`]
        : undefined,
    );
  return checks;
}

/** A number, or a range of numbers. */
function isLarge(value: PickleValue | undefined, pathOf: (value: PickleValue) => string): boolean {
  if (typeof value === "number" || typeof value === "bigint") return true;
  return value instanceof ObjectNode && pathOf(value.callable) === "builtins.range";
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
