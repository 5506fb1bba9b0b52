import { PickleFault } from "./fault.ts";
import { checkKeyLength, counted, dictKey, itemForms, textKey } from "./keys.ts";
import { GlobalRef, PickleNode, type PickleValue } from "./values.ts";

/** `bytes`, or `bytearray` if mutable. A view of the pickle's own bytes. */
export class PyBytes extends PickleNode {
  readonly bytes: Uint8Array;
  readonly mutable: boolean;

  constructor(bytes: Uint8Array, mutable = false) {
    super();
    this.bytes = bytes;
    this.mutable = mutable;
  }

  get kind(): string {
    return this.mutable ? "bytearray" : "bytes";
  }

  override keyForm(): string {
    if (this.mutable) throw new PickleFault("a bytearray cannot be a key");
    checkKeyLength(this.bytes.length);
    return counted(`\0b${String.fromCharCode(...this.bytes)}`);
  }
}

export class PyTuple extends PickleNode {
  readonly items: readonly PickleValue[];

  constructor(items: readonly PickleValue[]) {
    super();
    this.items = items;
  }

  get kind(): string {
    return "tuple";
  }

  override keyForm(depth: number): string {
    return `\0t${itemForms(this.items, depth).join("")}`;
  }
}

const NOTHING: readonly PickleValue[] = [];

export class PyList extends PickleNode {
  #items: PickleValue[] | undefined;

  /** @param items are the list's own from here on. */
  constructor(items?: PickleValue[]) {
    super();
    this.#items = items;
  }

  get items(): readonly PickleValue[] {
    return this.#items ?? NOTHING;
  }

  /** @param items are the list's own from here on. */
  append(items: PickleValue[]): void {
    const own = this.#items;
    if (own === undefined) this.#items = items;
    else for (const item of items) own.push(item);
  }

  get kind(): string {
    return "list";
  }

  override keyForm(): never {
    throw new PickleFault("a list cannot be a key");
  }
}

/** A dict, in the order in which its keys were first set. Keys are equal as in Python: 1, 1.0 and True are one. */
export class PyDict extends PickleNode {
  /** "dict", or the subclass that the reader took it for ("OrderedDict", …). */
  readonly type: string;
  /** Keys that are text, and their values, in turn, which are not in the map yet: of most dicts nobody asks for any. */
  #waiting: PickleValue[] | undefined;
  /** Values by the form of their key. */
  #values: Map<unknown, PickleValue> | undefined;
  /** The keys that are not their own form, which few are. */
  #keys: Map<unknown, PickleValue> | undefined;

  constructor(type = "dict") {
    super();
    this.type = type;
  }

  get kind(): string {
    return this.type;
  }

  get size(): number {
    return this.#entered()?.size ?? 0;
  }

  /** Sets a value; a key that is there already stays as it is. Throws `PickleFault` if the key cannot be one. */
  set(key: PickleValue, value: PickleValue): void {
    if (typeof key !== "string") return this.#enter(this.#entered() ?? new Map(), key, value);
    textKey(key);
    this.#waiting ??= [];
    this.#waiting.push(key, value);
  }

  /** The values by the form of their key, if there are any. */
  #entered(): Map<unknown, PickleValue> | undefined {
    const waiting = this.#waiting;
    if (waiting === undefined) return this.#values;
    this.#waiting = undefined;
    const values = this.#values ?? new Map<unknown, PickleValue>();
    for (let index = 0; index < waiting.length; index += 2)
      this.#enter(values, waiting[index]!, waiting[index + 1]!);
    return values;
  }

  #enter(values: Map<unknown, PickleValue>, key: PickleValue, value: PickleValue): void {
    this.#values = values;
    const form = dictKey(key);
    if (form !== key && !values.has(form)) {
      this.#keys ??= new Map();
      this.#keys.set(form, key);
    }
    values.set(form, value);
  }

  get(key: PickleValue): PickleValue | undefined {
    return this.#entered()?.get(dictKey(key));
  }

  *entries(): Iterable<readonly [PickleValue, PickleValue]> {
    const values = this.#entered();
    if (!values) return;
    for (const [form, value] of values) yield [this.#keys?.get(form) ?? (form as PickleValue), value];
  }

  override keyForm(): never {
    throw new PickleFault("a dict cannot be a key");
  }
}

/** A `set`, or a `frozenset` if frozen. */
export class PySet extends PickleNode {
  readonly frozen: boolean;
  /** By their form. */
  #items: Map<unknown, PickleValue> | undefined;
  /** That of a frozen set, which nothing is added to once it is used: to sort the items takes long. */
  #form: string | undefined;

  constructor(frozen = false) {
    super();
    this.frozen = frozen;
  }

  get kind(): string {
    return this.frozen ? "frozenset" : "set";
  }

  get size(): number {
    return this.#items?.size ?? 0;
  }

  /** Adds an item unless an equal one is there. Throws `PickleFault` if the item cannot be one. */
  add(item: PickleValue): void {
    const form = dictKey(item);
    this.#items ??= new Map();
    if (!this.#items.has(form)) this.#items.set(form, item);
  }

  items(): Iterable<PickleValue> {
    return this.#items?.values() ?? NOTHING;
  }

  override keyForm(depth: number): string {
    if (!this.frozen) throw new PickleFault("a set cannot be a key");
    this.#form ??= `\0f${itemForms(this.items(), depth).sort().join("")}`;
    return this.#form;
  }
}

/** What a call would have made: the call as it stands in the pickle, and what was then put into its result. */
export class ObjectNode extends PickleNode {
  readonly callable: PickleNode;
  readonly args: PyTuple;
  /** Keyword arguments (NEWOBJ_EX). */
  readonly kwargs: PyDict | undefined;
  #states: PickleValue[] | undefined;
  #list: PyList | undefined;
  #dict: PyDict | undefined;

  constructor(callable: PickleNode, args: PyTuple, kwargs?: PyDict) {
    super();
    this.callable = callable;
    this.args = args;
    this.kwargs = kwargs;
  }

  get kind(): string {
    return `object of ${this.className}`;
  }

  /** The class, or the function that was called. Where a helper of Python makes the object, its first argument. */
  get className(): string {
    const [first] = this.args.items;
    const isHelper = this.callable instanceof GlobalRef && /^_reconstruct(or)?$/.test(this.callable.name);
    const named = isHelper && first instanceof GlobalRef ? first : this.callable;
    return named instanceof GlobalRef ? named.path : "an unknown class";
  }

  /** Arguments of BUILD. */
  get states(): readonly PickleValue[] {
    return this.#states ?? [];
  }

  addState(state: PickleValue): void {
    if (this.#states === undefined) this.#states = [state];
    else this.#states.push(state);
  }

  /** What APPEND, APPENDS and ADDITEMS add. */
  get list(): PyList {
    this.#list ??= new PyList();
    return this.#list;
  }

  /** What SETITEM and SETITEMS set. */
  get dict(): PyDict {
    this.#dict ??= new PyDict();
    return this.#dict;
  }
}
