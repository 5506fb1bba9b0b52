import { ObjectNode, PyDict, PyTuple } from "../pickle/containers.ts";
import { GlobalRef, type PickleValue } from "../pickle/values.ts";
import type { KnownOf } from "./plain-data.ts";

/** Types as NumPy writes them: a letter and bytes, or characters (U). */
const TEXT = /^([biufcmMSUVO])(\d+)$/;

/** Types that another package adds to NumPy: a word and bits. */
const ADDED = /^ml_dtypes\.[a-z]+(\d+)/;

/** Types whose size stands in the state. */
const STATED = /^(?:[SUV]\d+|numpy\.record)$/;

/** Bytes of a reference to an object, whatever is said of it. */
const OBJECT_BYTES = 8;

/** NumPy has no arrays of more dimensions. */
export const MAX_DIMENSIONS = 64;

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
    const item = this.#ofItem(type, size);
    // NumPy does not look whether the parts lie within an item, nor whether its size is less than none.
    if (!(Math.max(inBase.end, inFields.end) <= item.end)) return false;
    const hasObjects = inBase.hasObjects || inFields.hasObjects || item.hasObjects;
    this.#judged.set(type, { hasObjects, end: item.end });
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
      const item = judged ?? this.#ofItem(inner);
      hasObjects ||= item.hasObjects;
      end = Math.max(end, endOf(item.end, where));
    }
    return Number.isNaN(end) ? undefined : { hasObjects, end };
  }

  /** What a type takes by what it is made of; no number of bytes for what NumPy does not write. */
  #ofItem({ args }: ObjectNode, stated?: PickleValue): Extent {
    const [made] = args.items;
    const name = typeof made === "string" ? made : (this.#knownOf(made)?.path ?? "");
    return { hasObjects: name.startsWith("O"), end: sizeOf(name, stated) };
  }
}

/** Bytes of an item, neither more nor less; NaN for what is none. */
function sizeOf(name: string, stated: PickleValue | undefined): number {
  if (stated !== undefined && STATED.test(name)) return isCount(stated) ? stated : Number.NaN;
  const bits = ADDED.exec(name)?.[1];
  if (bits !== undefined) {
    const size = Math.ceil(Number(bits) / 8);
    // NumPy believes the state here, too.
    return stated === undefined || stated === size ? size : Number.NaN;
  }
  const [, letter, digits] = TEXT.exec(name) ?? [];
  if (letter === "O") return OBJECT_BYTES;
  return Number(digits) * (letter === "U" ? 4 : 1);
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
  // Many types may share a shape.
  if (!(shape instanceof PyTuple) || shape.items.length > MAX_DIMENSIONS) return Number.NaN;
  if (!shape.items.every(isCount)) return Number.NaN;
  return shape.items.reduce<number>((bytes, count) => bytes * (count as number), size);
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === "number" && value >= 0;
}
