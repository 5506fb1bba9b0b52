import { ObjectNode, PyDict, PyTuple } from "../pickle/containers.ts";
import type { PickleValue } from "../pickle/values.ts";
import type { KnownOf } from "./plain-data.ts";

/** Classes that are a type of numbers, text or records to NumPy; all others are objects to it. */
const NUMBERS =
  /^(?:ml_dtypes\.\w+|numpy\.(?:u?int\d+|float\d+|complex\d+|bool_?|str_|record)|builtins\.(?:int|float|bool|complex))$/;

/**
 * The types of a pickle's NumPy arrays. One that denies that there are Python objects in it makes NumPy take the bytes of
 * an array for pointers.
 */
export class NumpyTypes {
  readonly #knownOf: KnownOf;
  readonly #objectTypes = new Set<ObjectNode>();

  constructor(knownOf: KnownOf) {
    this.#knownOf = knownOf;
  }

  /** Whether a type, by the state that it is given, owns up to the objects in it. */
  isHonest(type: ObjectNode, state: PickleValue): boolean {
    if (!(state instanceof PyTuple)) return true;
    const [, , base, , fields, , , flags] = state.items;
    const parts = fields instanceof PyDict ? Array.from(fields.entries(), ([, field]) => field) : [];
    const holdsObjects = [base, ...parts].some(
      (part) => part instanceof PyTuple && this.#holdsObjects(part.items[0]),
    );
    if (holdsObjects) this.#objectTypes.add(type);
    return !this.#holdsObjects(type) || (typeof flags === "number" && flags % 2 !== 0);
  }

  /** Whether a type holds Python objects, or is made in a way that does not tell. */
  #holdsObjects(type: PickleValue | undefined): boolean {
    if (!(type instanceof ObjectNode)) return false;
    const [made] = type.args.items;
    if (this.#objectTypes.has(type)) return true;
    if (typeof made === "string") return /o/i.test(made);
    return !NUMBERS.test(this.#knownOf(made)?.path ?? "");
  }
}
