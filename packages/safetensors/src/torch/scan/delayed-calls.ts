import { ObjectNode, PyDict, PyTuple } from "../pickle/containers.ts";
import { GlobalRef, type PickleValue } from "../pickle/values.ts";
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
  "torch.Tensor",
  // Makes a dict of two numbers.
  "torch.amp.grad_scaler._refresh_per_optimizer_state",
]);

/** Types of numbers, which make a zero. */
const NUMBER = /^numpy\.(?:u?int|float|complex)\d+$/;

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

  /** `functools.partial(callable, *items)`, of which Python's pickler writes the first argument only. */
  addPartial([callable, ...items]: readonly PickleValue[], kwargs?: PickleValue): void {
    // They are copied, so nobody knows at the end what they were.
    if (hasKeywords(kwargs)) this.#isHidden = true;
    else this.#keep(callable, items, null);
  }

  /** The state of a partial call, which it gets once: `(callable, items, kwargs, attributes)`. */
  addState(partial: ObjectNode, state: PickleValue): void {
    const [callable, args, kwargs = null] = state instanceof PyTuple ? state.items : [];
    const isDict = kwargs === null || kwargs instanceof PyDict;
    if (partial.states.length > 0 || !(args instanceof PyTuple) || !isDict) this.#isHidden = true;
    else this.#keep(callable, args.items, kwargs);
  }

  #keep(callable: PickleValue | undefined, items: readonly PickleValue[], kwargs: PickleValue): void {
    if (callable instanceof GlobalRef && this.#pathOf(callable) !== "functools.partial") {
      if (items.length > 0 || kwargs !== null) this.#calls.push({ callable, items, kwargs });
    } else if (!(callable instanceof TensorFunction)) this.#isHidden = true;
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
    const faults = this.#isHidden ? ["keeps a call for later that cannot be told"] : [];
    if (!this.#factories.every((factory) => this.#isFactory(factory)))
      faults.push("makes missing values by calling something else than a container");
    return faults;
  }

  #isFactory(value: PickleValue | undefined): boolean {
    if (value instanceof GlobalRef) return this.#isEmptyMaker(value);
    if (!(value instanceof ObjectNode) || this.#pathOf(value.callable) !== "functools.partial") return false;
    // The state replaces what it was made of; more than one is a fault already.
    const [state] = value.states;
    const [kept] = state instanceof PyTuple ? state.items : value.args.items;
    return this.#isEmptyMaker(kept);
  }

  #isEmptyMaker(value: PickleValue | undefined): boolean {
    const path = this.#pathOf(value);
    return FACTORIES.has(path) || NUMBER.test(path);
  }

  #pathOf(value: PickleValue | undefined): string {
    return this.#knownOf(value)?.path ?? "";
  }
}

/** Whether keyword arguments are there, or may be: a dict never gets smaller. */
export function hasKeywords(kwargs: PickleValue | undefined): boolean {
  if (kwargs === undefined || kwargs === null) return false;
  return !(kwargs instanceof PyDict && kwargs.size === 0);
}
