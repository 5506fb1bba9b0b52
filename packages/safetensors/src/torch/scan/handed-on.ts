import type { PyTuple } from "../pickle/containers.ts";
import { GlobalRef, type PickleValue } from "../pickle/values.ts";
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

/** The names that a pickle hands to something which may call them. */
export class HandedOn {
  readonly #classes = new Map<GlobalRef, number>();
  readonly #holders = new Set<PyTuple>();

  /** A value of a tuple is handed on as the class of an object, and was judged as such. It stands there once. */
  addClass(holder: PyTuple, value: PickleValue | undefined): void {
    if (!(value instanceof GlobalRef && EVALUATES.test(value.path)) || this.#holders.has(holder)) return;
    this.#holders.add(holder);
    this.#classes.set(value, (this.#classes.get(value) ?? 0) + 1);
  }

  /** At the end of a pickle: what is wrong with handing on a name. */
  fault(ref: GlobalRef, path: string): Judgement | undefined {
    if (ref.pushes <= ref.calls) return undefined;
    const isClass = ref.pushes === ref.calls + (this.#classes.get(ref) ?? 0);
    if (EVALUATES.test(path) && !isClass) return ["constructor-call", "can run text as Python"];
    return judgedByArguments(path);
  }
}
