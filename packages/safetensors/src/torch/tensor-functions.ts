import { classifyGlobal } from "./globals.ts";
import { isTensorFunctionName } from "./inert-functions.ts";
import { ObjectNode, type PyTuple } from "./pickle/containers.ts";
import { GlobalRef, PickleNode, type PickleValue } from "./pickle/values.ts";

/** The class that PyTorch's functions are methods of, to Python, and its name in old versions. */
const OWNERS: ReadonlySet<string> = new Set([
  "torch._C._VariableFunctionsClass",
  "torch._C._VariableFunctions",
]);

/** Makes a time zone of its name; the only thing that honest pickles reach by `getattr` and call. */
const TIME_ZONE = "zoneinfo.ZoneInfo";

/** The one name of builtins that is forbidden, but for one use of it. */
const GETATTR = "builtins.getattr";

/** A function of PyTorch's that is a value, as the activation of a module: `torch.relu`. Nothing can call it. */
export class TensorFunction extends PickleNode {
  readonly name: string;

  constructor(name: string) {
    super();
    this.name = name;
  }

  get kind(): string {
    return `function torch.${this.name}`;
  }
}

/** A method of an object of the pickle, or of a class, that is a value: `self.act = self._gelu_python`. Nothing can call it. */
export class Method extends PickleNode {
  readonly owner: ObjectNode | GlobalRef;
  readonly name: string;

  constructor(owner: ObjectNode | GlobalRef, name: string) {
    super();
    this.owner = owner;
    this.name = name;
  }

  get kind(): string {
    return `method ${this.name} of ${classOf(this.owner)}`;
  }
}

/** A name that is no way into Python itself, as `__class__` and `__globals__` are. */
const METHOD = /^(?!__)[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * The uses of `getattr` that honest pickles have. Up to protocol 3, Python writes what lies in a class as
 * `getattr(torch._C._VariableFunctionsClass, "relu")`, which is `torch.relu`; methods of objects it always writes so. Every
 * other use is what attackers need.
 */
export class TensorFunctions {
  readonly #uses = new Map<GlobalRef, number>();

  /** What such a call gives; nothing for other calls. */
  call(callable: GlobalRef, { items }: PyTuple): TensorFunction | Method | GlobalRef | undefined {
    const [owner, name] = items;
    if (items.length !== 2 || typeof name !== "string" || pathOf(callable) !== GETATTR) return undefined;
    const value = attributeOf(owner, name);
    if (value) this.#uses.set(callable, (this.#uses.get(callable) ?? 0) + 1);
    return value;
  }

  /** At the end of a pickle: whether a name stood for nothing but such calls. */
  explains(ref: GlobalRef): boolean {
    return this.#uses.get(ref) === ref.pushes;
  }
}

/** Whether a forbidden name has an honest use, so that its calls decide. */
export function mayBeExplained(path: string): boolean {
  return path === GETATTR;
}

function attributeOf(
  owner: PickleValue | undefined,
  name: string,
): TensorFunction | Method | GlobalRef | undefined {
  if (owner instanceof GlobalRef && owner.path === TIME_ZONE && name === "_unpickle")
    return new GlobalRef(owner.module, `${owner.name}.${name}`, owner.at);
  if (owner instanceof GlobalRef && OWNERS.has(pathOf(owner)))
    return isTensorFunctionName(name) ? new TensorFunction(name) : undefined;
  if (!(owner instanceof GlobalRef || owner instanceof ObjectNode)) return undefined;
  // Modules, and what functions return, have attributes that are no methods.
  const hasMethods = /\._?[A-Z]\w*$/.test(classOf(owner));
  return hasMethods && METHOD.test(name) ? new Method(owner, name) : undefined;
}

function classOf(owner: ObjectNode | GlobalRef): string {
  return owner instanceof ObjectNode ? owner.className : owner.path;
}

function pathOf({ module, name }: GlobalRef): string {
  return classifyGlobal(module, name).path;
}
