import { dictKey } from "./keys.ts";

/**
 * A value of a pickle. Python's int is a number, or a bigint outside the safe range; its float is a `PyFloat`, so that
 * 3 and 3.0 stay apart. Everything that is shared by reference, or is no plain value, is a node.
 */
export type PickleValue = null | boolean | number | bigint | string | PickleNode;

/** What all values that are objects have in common. Other layers add their own kinds by extending this class. */
export abstract class PickleNode {}

export class PyFloat extends PickleNode {
  readonly value: number;

  constructor(value: number) {
    super();
    this.value = value;
  }
}

/** `bytes`, or `bytearray` if mutable. A view of the pickle's own bytes. */
export class PyBytes extends PickleNode {
  readonly bytes: Uint8Array;
  readonly mutable: boolean;

  constructor(bytes: Uint8Array, mutable = false) {
    super();
    this.bytes = bytes;
    this.mutable = mutable;
  }
}

export class PyTuple extends PickleNode {
  readonly items: readonly PickleValue[];
  /** Set by `dictKey`: tuples never change, so the work is done once. */
  key: string | undefined;

  constructor(items: readonly PickleValue[]) {
    super();
    this.items = items;
  }
}

export class PyList extends PickleNode {
  readonly items: PickleValue[];

  constructor(items: PickleValue[] = []) {
    super();
    this.items = items;
  }
}

/** A dict, in the order in which keys were first set. Keys are equal as in Python: 1, 1.0 and True are one key. */
export class PyDict extends PickleNode {
  /** "dict", or the name of the subclass that the reader interprets ("OrderedDict", …). */
  readonly type: string;
  readonly #entries = new Map<unknown, [PickleValue, PickleValue]>();

  constructor(type = "dict") {
    super();
    this.type = type;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Throws an `UnhashableError` where Python would. An existing key stays, with the new value. */
  set(key: PickleValue, value: PickleValue): void {
    const form = dictKey(key);
    const entry = this.#entries.get(form);
    if (entry) entry[1] = value;
    else this.#entries.set(form, [key, value]);
  }

  get(key: PickleValue): PickleValue | undefined {
    return this.#entries.get(dictKey(key))?.[1];
  }

  entries(): Iterable<readonly [PickleValue, PickleValue]> {
    return this.#entries.values();
  }
}

/** A `set`, or a `frozenset` if frozen. */
export class PySet extends PickleNode {
  readonly frozen: boolean;
  /** Set by `dictKey`, for frozen sets. */
  key: string | undefined;
  readonly #items = new Map<unknown, PickleValue>();

  constructor(frozen = false) {
    super();
    this.frozen = frozen;
  }

  get size(): number {
    return this.#items.size;
  }

  /** Throws an `UnhashableError` where Python would. An equal item that is there already stays. */
  add(item: PickleValue): void {
    const form = dictKey(item);
    if (!this.#items.has(form)) this.#items.set(form, item);
  }

  items(): Iterable<PickleValue> {
    return this.#items.values();
  }
}

/** A name that the pickle asks Python to import. It is never looked up. One object for each name in a pickle. */
export class GlobalRef extends PickleNode {
  readonly module: string;
  readonly name: string;
  /** Where the pickle first names it. */
  readonly at: number;
  /** Whether the pickle calls it. */
  called = false;

  constructor(module: string, name: string, at: number) {
    super();
    this.module = module;
    this.name = name;
    this.at = at;
  }

  get path(): string {
    return `${this.module}.${this.name}`;
  }
}

/** What a call would have made: the call as it stands in the pickle, and what was then put into its result. */
export class ObjectNode extends PickleNode {
  readonly callable: PickleValue;
  readonly args: PyTuple;
  /** Keyword arguments (NEWOBJ_EX). */
  readonly kwargs: PyDict | undefined;
  /** Arguments of BUILD, in order. */
  readonly states: PickleValue[] = [];
  /** What APPEND(S) and ADDITEMS added. */
  readonly items: PickleValue[] = [];
  /** What SETITEM(S) set. */
  readonly entries: PyDict = new PyDict();

  constructor(callable: PickleValue, args: PyTuple, kwargs?: PyDict) {
    super();
    this.callable = callable;
    this.args = args;
    this.kwargs = kwargs;
  }
}

/** A reference to something outside the pickle, when nobody resolves it. */
export class PersistentId extends PickleNode {
  readonly id: PickleValue;

  constructor(id: PickleValue) {
    super();
    this.id = id;
  }
}
