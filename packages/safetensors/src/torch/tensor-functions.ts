import { classifyGlobal } from "./globals.ts";
import { isTensorFunctionName } from "./inert-functions.ts";
import type { PyTuple } from "./pickle/containers.ts";
import { GlobalRef, PickleNode } from "./pickle/values.ts";

/** The class that PyTorch's functions are methods of, to Python, and its name in old versions. */
const OWNERS: ReadonlySet<string> = new Set([
  "torch._C._VariableFunctionsClass",
  "torch._C._VariableFunctions",
]);

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

/**
 * The one use of `getattr` that honest pickles have: Python writes functions in C that are methods of a class, like
 * `torch.relu`, as `getattr(torch._C._VariableFunctionsClass, "relu")`. Every other use is what attackers need.
 */
export class TensorFunctions {
  readonly #uses = new Map<GlobalRef, number>();

  /** What such a call gives; nothing for other calls. */
  call(callable: GlobalRef, { items }: PyTuple): TensorFunction | undefined {
    const [owner, name] = items;
    if (items.length !== 2 || typeof name !== "string" || !isTensorFunctionName(name)) return undefined;
    if (pathOf(callable) !== GETATTR || !(owner instanceof GlobalRef && OWNERS.has(pathOf(owner))))
      return undefined;
    this.#uses.set(callable, (this.#uses.get(callable) ?? 0) + 1);
    return new TensorFunction(name);
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

function pathOf({ module, name }: GlobalRef): string {
  return classifyGlobal(module, name).path;
}
