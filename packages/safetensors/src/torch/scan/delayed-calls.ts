import { ObjectNode, PyDict, PyTuple } from "../pickle/containers.ts";
import { GlobalRef, type PickleNode, type PickleValue } from "../pickle/values.ts";
import { TensorFunction } from "../tensor-functions.ts";
import type { KnownOf } from "./plain-data.ts";

/** A call that `functools.partial` keeps for later. */
export interface DelayedCall {
  readonly callable: GlobalRef;
  readonly items: readonly PickleValue[];
  readonly kwargs: PickleValue;
}

/** What defaults are made by: without arguments all of them make something empty. */
const FACTORIES: ReadonlySet<string> = new Set([
  ..."list dict set frozenset tuple int float complex bool str bytes bytearray object"
    .split(" ")
    .map((name) => `builtins.${name}`),
  ..."OrderedDict defaultdict Counter deque".split(" ").map((name) => `collections.${name}`),
  // Makes a dict of two numbers.
  "torch.amp.grad_scaler._refresh_per_optimizer_state",
]);

/**
 * Calls that are made after they were written: those of `functools.partial`, and those by which a defaultdict makes
 * missing values. Python may change their arguments as long as the pickle goes on, so they are judged at its end.
 */
export class DelayedCalls {
  readonly #knownOf: KnownOf;
  readonly #calls: DelayedCall[] = [];
  readonly #factories: PickleValue[] = [];
  #isHidden = false;

  constructor(knownOf: KnownOf) {
    this.#knownOf = knownOf;
  }

  /** `functools.partial(callable, *items, **kwargs)`, of which Python's pickler writes the first argument only. */
  addPartial([callable, ...items]: readonly PickleValue[], kwargs: PickleValue = null): void {
    if (callable instanceof GlobalRef && this.#pathOf(callable) !== "functools.partial") {
      if (items.length > 0 || kwargs !== null) this.#calls.push({ callable, items, kwargs });
    } else if (!(callable instanceof TensorFunction)) this.#isHidden = true;
  }

  /** The state of a partial call: `(callable, items, kwargs, attributes)`. */
  addState(state: PickleValue): void {
    const [callable, args, kwargs] = state instanceof PyTuple ? state.items : [];
    if (callable === undefined || !(args instanceof PyTuple)) this.#isHidden = true;
    else this.addPartial([callable, ...args.items], kwargs ?? null);
  }

  /** What a defaultdict makes missing values by. */
  addFactory(factory: PickleValue = null): void {
    if (factory !== null) this.#factories.push(factory);
  }

  /** The calls that are kept with arguments. Without any they are names, and nothing more. */
  calls(): readonly DelayedCall[] {
    return this.#calls;
  }

  /** What calls something else than names, or than what makes something empty. */
  faults(): string[] {
    const faults = this.#isHidden ? ["keeps a call of what is no name for later"] : [];
    if (!this.#factories.every((factory) => this.#isFactory(factory)))
      faults.push("makes missing values by calling something else than a container");
    return faults;
  }

  #isFactory(value: PickleValue | undefined): boolean {
    if (value instanceof GlobalRef) return FACTORIES.has(this.#pathOf(value));
    if (!(value instanceof ObjectNode) || this.#pathOf(value.callable) !== "functools.partial") return false;
    const states = value.states.map((state) => (state instanceof PyTuple ? state.items[0] : undefined));
    return [value.args.items[0], ...states].every(
      (one) => one instanceof GlobalRef && FACTORIES.has(this.#pathOf(one)),
    );
  }

  #pathOf(value: PickleNode): string {
    return this.#knownOf(value)?.path ?? "";
  }
}

/** Whether keyword arguments are there, or may be: a dict never gets smaller. */
export function hasKeywords(kwargs: PickleValue | undefined): boolean {
  if (kwargs === undefined || kwargs === null) return false;
  return !(kwargs instanceof PyDict && kwargs.size === 0);
}
