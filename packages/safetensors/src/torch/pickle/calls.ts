import { SafetensorsError } from "../../errors.ts";
import { MAX_GLOBAL_LENGTH } from "../limits.ts";
import { ObjectNode, PyBytes, PyDict, PyList, PySet, PyTuple } from "./containers.ts";
import { NAME, NAME_CHARACTER, NOTE, OBJECT, STATE } from "./costs.ts";
import type { PickleHooks } from "./hooks.ts";
import type { PickleReader } from "./reader.ts";
import type { PickleStack } from "./stack.ts";
import { GlobalRef, PersistentId, PickleNode, type PickleValue, PyFloat } from "./values.ts";

/**
 * Whether a value is what it seems. Names, what calls made, and what hooks made of them may stand for anything in Python, also
 * for text and functions.
 */
function isPlain(value: PickleValue): boolean {
  return !(value instanceof PickleNode) || PLAIN.some((kind) => value instanceof kind);
}

const PLAIN = [PyFloat, PyBytes, PyTuple, PyList, PyDict, PySet];

/** The opcodes that name things and call them. Nothing is imported and nothing is called: see `PickleHooks`. */
export class PickleCalls {
  readonly #reader: PickleReader;
  readonly #stack: PickleStack;
  readonly #hooks: PickleHooks;
  readonly #globals = new Map<string, GlobalRef>();

  constructor(reader: PickleReader, stack: PickleStack, hooks: PickleHooks) {
    this.#reader = reader;
    this.#stack = stack;
    this.#hooks = hooks;
  }

  /** The names asked for, in order of appearance. */
  get globals(): GlobalRef[] {
    return [...this.#globals.values()];
  }

  /** Counts a new object. */
  made<T extends PickleValue>(value: T): T {
    this.#reader.countMemory(OBJECT);
    return value;
  }

  /** Counts a value that is put on the stack again. */
  pushed(value: PickleValue): PickleValue {
    if (value instanceof GlobalRef) value.pushes++;
    return value;
  }

  /** The one object for a name; the hook hears of a new one. */
  global(module: string, name: string): GlobalRef {
    if (module.length + name.length > MAX_GLOBAL_LENGTH) {
      throw this.#reader.limit("MAX_GLOBAL_LENGTH", `a name of ${module.length + name.length} characters`);
    }
    const id = `${module.length}:${module}.${name}`;
    let ref = this.#globals.get(id);
    if (!ref) {
      this.#reader.countMemory(NAME + NAME_CHARACTER * (module.length + name.length));
      ref = new GlobalRef(module, name, this.#reader.opcodeAt);
      this.#hooks.onGlobal?.(ref);
      this.#globals.set(id, ref);
    }
    ref.pushes++;
    return ref;
  }

  /** The end of the pickle. */
  stop(): void {
    this.#hooks.onStop?.();
  }

  stackGlobal(): GlobalRef {
    const name = this.#stack.pop();
    const module = this.#stack.pop();
    if (typeof module !== "string" || typeof name !== "string") {
      const { opcodeAt } = this.#reader;
      const others = [module, name].filter((part) => typeof part !== "string");
      for (const part of others) if (part instanceof ObjectNode) this.#hooks.onMadeName?.(part, opcodeAt);
      // To Python 3, the bytes that Python 2 wrote (STRING) are text; a name is a class or function, and the hook looks at objects.
      const isNone = (part: PickleValue) =>
        part instanceof GlobalRef ||
        part instanceof ObjectNode ||
        (isPlain(part) && !(part instanceof PyBytes));
      const isFatal = others.some(isNone);
      throw this.#reader.error("a name is not text", isFatal ? "fatal" : undefined);
    }
    return this.global(module, name);
  }

  /** REDUCE: `callable(*args)`. */
  reduce(): PickleValue {
    const args = this.#tuple(this.#stack.pop());
    return this.call(this.#stack.pop(), args);
  }

  /** INST: a call of a name with the values above the mark. Python's own reader imports it before it looks for the mark. */
  inst(module: string, name: string): PickleValue {
    const ref = this.global(module, name);
    return this.call(ref, new PyTuple(this.#stack.popToMark()));
  }

  /** OBJ: the first value above the mark is the class. */
  obj(values: PickleValue[]): PickleValue {
    const [callable, ...args] = values;
    if (callable === undefined) throw this.#reader.error("there is no class");
    return this.call(callable, new PyTuple(args));
  }

  /** NEWOBJ: `cls.__new__(cls, *args)`, which without arguments makes what a call of the class makes. */
  newObject(): PickleValue {
    const args = this.#tuple(this.#stack.pop());
    if (args.items.length === 0) return this.call(this.#stack.pop(), args);
    return this.#newNode(args);
  }

  /** NEWOBJ_EX: `cls.__new__(cls, *args, **kwargs)`. */
  newObjectEx(): PickleValue {
    const kwargs = this.#stack.pop();
    if (!(kwargs instanceof PyDict)) throw this.#reader.error("the keyword arguments are not a dict");
    for (const [key] of kwargs.entries()) {
      if (typeof key !== "string") throw this.#reader.error("a keyword is not text");
    }
    const args = this.#tuple(this.#stack.pop());
    return this.#newNode(args, kwargs);
  }

  #newNode(args: PyTuple, kwargs?: PyDict): PickleValue {
    const callable = this.#callable(this.#stack.pop());
    if (callable instanceof GlobalRef) this.#hooks.onNewObject?.(callable, args, kwargs);
    return this.made(new ObjectNode(callable, args, kwargs));
  }

  call(value: PickleValue, args: PyTuple): PickleValue {
    const callable = this.#callable(value);
    const result = callable instanceof GlobalRef ? this.#hooks.call?.(callable, args) : undefined;
    return this.made(result === undefined ? new ObjectNode(callable, args) : result);
  }

  /** Only names, and what unknown calls made, can be called. */
  #callable(value: PickleValue): GlobalRef | ObjectNode {
    if (value instanceof GlobalRef) value.calls++;
    else if (value instanceof ObjectNode) {
      this.#reader.countMemory(NOTE);
      this.#hooks.onResultCalled?.(this.#reader.opcodeAt);
    } else {
      const kind = isPlain(value) ? "fatal" : undefined;
      throw this.#reader.error("what is called is not a function or class", kind);
    }
    return value;
  }

  #tuple(value: PickleValue): PyTuple {
    if (!(value instanceof PyTuple)) throw this.#reader.error("the arguments are not a tuple");
    return value;
  }

  build(state: PickleValue): void {
    const target = this.#stack.top();
    this.#reader.countMemory(STATE);
    if (target instanceof ObjectNode) {
      this.#hooks.onState?.(target, state, this.#reader.opcodeAt);
      target.addState(state);
      return;
    }
    const accepted = target instanceof PickleNode && this.#hooks.build?.(target, state, this.#reader.at);
    if (accepted === undefined || accepted === false) throw this.#reader.error("the target takes no state");
    if (accepted !== true) this.#reader.pass(accepted);
  }

  persistent(id: PickleValue): PickleValue {
    this.#reader.countMemory(NOTE);
    return this.made(this.pushed(this.#hooks.persistentLoad?.(id) ?? new PersistentId(id)));
  }

  /** The registry of extension codes is part of a running Python, so a code can stand for any name. */
  extension(code: number): SafetensorsError {
    return new SafetensorsError("FORBIDDEN_GLOBAL", `the pickle asks for extension code ${code} of copyreg`, {
      at: this.#reader.opcodeAt,
      global: `copyreg extension ${code}`,
    });
  }
}
