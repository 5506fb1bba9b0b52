import { ObjectNode, PyDict, PyTuple } from "../pickle/containers.ts";
import { GlobalRef, type PickleValue } from "../pickle/values.ts";
import type { KnownOf } from "./plain-data.ts";

/** Types of numbers, text, bytes, times and records, as NumPy writes them. */
const LETTERS = /^[biufcmMSUV]\d+$/;

/** Classes that are a type of numbers, text or records to NumPy; all others are objects to it. */
const NUMBERS =
  /^(?:ml_dtypes\.\w+|numpy\.(?:u?int\d+|float\d+|complex\d+|bool_?|str_|record)|builtins\.(?:int|float|bool|complex))$/;

/** Of the largest number. */
const MAX_ITEM_BITS = 256;

/** Flags of a type that holds objects: these are references, which must be set, and cannot be read from bytes. */
const OBJECT_FLAGS = 0b11011;
/** Without these flags NumPy reads an array from bytes. */
const NO_BYTES_FLAGS = 0b11;

/**
 * The types of a pickle's NumPy arrays. One that denies that there are Python objects in it makes NumPy take the bytes of
 * an array for pointers, so does one that gets objects once there is an array of it, and fields may lie beyond the array.
 * So a type is honest only if it is made as NumPy's own pickles make it: at once, and in this order. Judged at the end, as
 * dicts may change until then.
 */
export class NumpyTypes {
  readonly #knownOf: KnownOf;
  /** Types that `numpy.dtype` makes, and what was done before with types that are ready. */
  readonly #made = new Map<ObjectNode, number>();
  /** Their states, in the order of the pickle. */
  readonly #states = new Map<ObjectNode, readonly PickleValue[]>();
  /** What was in a dict of fields when it was first handed to a type. */
  readonly #fields = new Map<PyDict, readonly PickleValue[]>();
  #uses = 0;
  #isOdd = false;

  constructor(knownOf: KnownOf) {
    this.#knownOf = knownOf;
  }

  /** `numpy.dtype(made, …)` is called. */
  make(callable: GlobalRef, args: PyTuple): ObjectNode {
    const type = new ObjectNode(callable, args);
    this.#made.set(type, this.#uses);
    return type;
  }

  /** Something is done that may make use of a type. */
  use(): void {
    this.#uses++;
  }

  /** A type is given a state: `(version, order, base, names, fields, size, alignment, flags, metadata)`. */
  addState(type: ObjectNode, state: PickleValue): void {
    const [made] = type.args.items;
    const isNew = this.#made.get(type) === this.#uses && !this.#states.has(type);
    // Of anything else `numpy.dtype` may give a type that is in use.
    const isOwn = typeof made === "string" || made instanceof GlobalRef;
    if (!isNew || !isOwn || !(state instanceof PyTuple)) {
      this.#isOdd = true;
      return;
    }
    this.#states.set(type, state.items);
    const fields = state.items[4];
    if (fields instanceof PyDict && !this.#fields.has(fields)) this.#fields.set(fields, valuesOf(fields));
  }

  /** Whether all types, as far as the pickle has come, own up to the objects in them and keep to their items. */
  areHonest(): boolean {
    return !this.#isOdd && new Honesty(this.#made, this.#states, this.#fields, this.#knownOf).holds();
  }
}

/** What a type, or parts of one, take of an item of an array. */
interface Extent {
  readonly hasObjects: boolean;
  /** Bytes. */
  readonly end: number;
}

const NOTHING: Extent = { hasObjects: false, end: 0 };

class Honesty {
  readonly #made: ReadonlyMap<ObjectNode, number>;
  readonly #states: ReadonlyMap<ObjectNode, readonly PickleValue[]>;
  readonly #fields: ReadonlyMap<PyDict, readonly PickleValue[]>;
  readonly #knownOf: KnownOf;
  /** Types and dicts of fields: each is judged once, as many may share it. */
  readonly #judged = new Map<ObjectNode | PyDict, Extent>();

  constructor(
    made: ReadonlyMap<ObjectNode, number>,
    states: ReadonlyMap<ObjectNode, readonly PickleValue[]>,
    fields: ReadonlyMap<PyDict, readonly PickleValue[]>,
    knownOf: KnownOf,
  ) {
    this.#made = made;
    this.#states = states;
    this.#fields = fields;
    this.#knownOf = knownOf;
  }

  holds(): boolean {
    for (const [type, state] of this.#states) if (!this.#isHonest(type, state)) return false;
    return true;
  }

  #isHonest(type: ObjectNode, [, , base, , fields, size, , flags]: readonly PickleValue[]): boolean {
    const inBase = base === null ? NOTHING : this.#ofParts([base], itemsOf);
    const inFields = fields === null ? NOTHING : this.#ofFields(fields);
    if (inBase === undefined || inFields === undefined || typeof flags !== "number") return false;
    const hasObjects = inBase.hasObjects || inFields.hasObjects || this.#isOfObjects(type);
    const end = this.#sizeOf(type, size);
    this.#judged.set(type, { hasObjects, end });
    // NumPy does not look whether the parts lie within an item.
    if (inBase.end > end || inFields.end > end) return false;
    return hasObjects ? (flags & OBJECT_FLAGS) === OBJECT_FLAGS : (flags & NO_BYTES_FLAGS) === 0;
  }

  /** What the fields take; undefined if they are not those that the type was given. */
  #ofFields(fields: PickleValue | undefined): Extent | undefined {
    const given = fields instanceof PyDict ? this.#fields.get(fields) : undefined;
    if (!(fields instanceof PyDict) || given === undefined) return undefined;
    const known = this.#judged.get(fields);
    if (known !== undefined) return known;
    const values = valuesOf(fields);
    const isSame = values.every((value, index) => value === given[index]);
    const judged = isSame ? this.#ofParts(values, endOfField) : undefined;
    if (judged !== undefined) this.#judged.set(fields, judged);
    return judged;
  }

  /** What parts `(type, where, …)` take; undefined if one is not honest. */
  #ofParts(
    parts: readonly (PickleValue | undefined)[],
    endOf: (size: number, where: PickleValue | undefined) => number,
  ): Extent | undefined {
    let { hasObjects, end } = NOTHING;
    for (const part of parts) {
      const [inner, where] = part instanceof PyTuple ? part.items : [];
      if (!(inner instanceof ObjectNode) || !this.#made.has(inner)) return undefined;
      const judged = this.#judged.get(inner);
      // It gets its state later, or is a part of itself.
      if (judged === undefined && this.#states.has(inner)) return undefined;
      if (judged?.hasObjects ?? this.#isOfObjects(inner)) hasObjects = true;
      end = Math.max(end, endOf(judged?.end ?? this.#sizeOf(inner, null), where));
    }
    return Number.isNaN(end) ? undefined : { hasObjects, end };
  }

  /** Bytes of an item, at most: those of text and records stand in the state. */
  #sizeOf({ args }: ObjectNode, stated: PickleValue | undefined): number {
    const [made] = args.items;
    const isText = typeof made === "string";
    const name = isText ? made : (this.#knownOf(made)?.path ?? "");
    if (typeof stated === "number" && stated >= 0 && /^[SUV]\d+$|^numpy\.(?:record|str_)$/.test(name))
      return stated;
    const digits = Number(/\d+/.exec(name)?.[0] ?? MAX_ITEM_BITS);
    if (!isText) return Math.ceil(digits / 8);
    return name.startsWith("U") ? digits * 4 : digits;
  }

  /** Whether a type is one of objects by what it is made of, or is made in a way that does not tell. */
  #isOfObjects({ args }: ObjectNode): boolean {
    const [made] = args.items;
    return typeof made === "string" ? !LETTERS.test(made) : !NUMBERS.test(this.#knownOf(made)?.path ?? "");
  }
}

function valuesOf(dict: PyDict): PickleValue[] {
  return Array.from(dict.entries(), ([, value]) => value);
}

/** The end of a field at an offset; NaN for what is none. */
function endOfField(size: number, offset: PickleValue | undefined): number {
  return isCount(offset) ? offset + size : Number.NaN;
}

/** The bytes of an array of a shape; NaN for what is none. */
function itemsOf(size: number, shape: PickleValue | undefined): number {
  if (!(shape instanceof PyTuple) || !shape.items.every(isCount)) return Number.NaN;
  return shape.items.reduce<number>((bytes, count) => bytes * (count as number), size);
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === "number" && value >= 0;
}
