import { quote } from "../../errors.ts";
import type { PyTuple } from "../pickle/containers.ts";
import { GlobalRef, type PickleValue } from "../pickle/values.ts";
import type { CallFault } from "./call-checks.ts";
import type { FindingCode } from "./finding.ts";

type Judgement = readonly [code: FindingCode, what: string];

/** Names whose arguments decide what a call does. They may be called, but not handed to something else that calls them. */
const JUDGED_BY_ARGUMENTS = new Map<string, Judgement>([
  ["torch.storage._load_from_bytes", ["indirect-load", "can load another pickle"]],
  ["torch._tensor._rebuild_from_type_v2", ["indirect-load", "calls its argument"]],
  ["builtins.type", ["made-class", "can make a class"]],
  ["enum.EnumMeta", ["made-class", "can make a class"]],
  ["enum.EnumType", ["made-class", "can make a class"]],
]);

/** Classes whose constructors run text of their arguments as Python. */
const EVALUATES = /^ultralytics\.nn\.tasks\./;

/** What may not be done with a name unless its arguments can be judged; nothing for most names. */
export function judgedByArguments(path: string): Judgement | undefined {
  return JUDGED_BY_ARGUMENTS.get(path);
}

/** What is wrong with handing on a name; nothing for most names. */
export function handedOnFault(path: string): CallFault | undefined {
  const judgement: Judgement | undefined = EVALUATES.test(path)
    ? ["constructor-call", "can run text as Python"]
    : judgedByArguments(path);
  return judgement && [judgement[0], `hands on ${quote(path)}, which ${judgement[1]}`];
}

/** The names that a pickle hands to something which may call them. */
export class HandedOn {
  #isNeeded = false;
  readonly #classes = new Map<GlobalRef, number>();
  readonly #holders = new Set<PyTuple>();

  /** A name that the pickle has. */
  addName(path: string): void {
    if (handedOnFault(path) !== undefined) this.#isNeeded = true;
  }

  /** Whether the pickle has names that may not be handed on. */
  get isNeeded(): boolean {
    return this.#isNeeded;
  }

  /** A value of a tuple is handed on as the class of an object, and was judged as such. It stands there once. */
  addClass(holder: PyTuple, value: PickleValue | undefined): void {
    if (!(value instanceof GlobalRef && EVALUATES.test(value.path)) || this.#holders.has(holder)) return;
    this.#holders.add(holder);
    this.#classes.set(value, (this.#classes.get(value) ?? 0) + 1);
  }

  /** At the end of a pickle: what is wrong with handing on a name. */
  fault(ref: GlobalRef, path: string): CallFault | undefined {
    const isClass = EVALUATES.test(path) && ref.pushes === ref.calls + (this.#classes.get(ref) ?? 0);
    return ref.pushes <= ref.calls || isClass ? undefined : handedOnFault(path);
  }
}
