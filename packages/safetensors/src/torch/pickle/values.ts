/**
 * A value of a pickle. Python's int is a number, or a bigint outside the safe range; its float is a `PyFloat`, so that
 * 3 and 3.0 stay apart. Everything that is shared by reference, or is no plain value, is a node.
 */
export type PickleValue = null | boolean | number | bigint | string | PickleNode;

/** What all values that are objects have in common. Other layers add their own kinds by extending it. */
export abstract class PickleNode {
  /** What this is, in Python's words: for messages and reports. */
  abstract get kind(): string;

  /** The form of this value as a key of a dict (see keys.ts). In Python, objects are equal to themselves only. */
  keyForm(_depth: number): unknown {
    return this;
  }
}

export class PyFloat extends PickleNode {
  readonly value: number;

  constructor(value: number) {
    super();
    this.value = value;
  }

  get kind(): string {
    return "float";
  }

  /** 2.0 is the same key as 2; NaN is equal to nothing, so it stays this object. */
  override keyForm(): unknown {
    if (Number.isNaN(this.value)) return this;
    return Number.isInteger(this.value) && !Number.isSafeInteger(this.value)
      ? BigInt(this.value)
      : this.value;
  }
}

/** A name that the pickle asks Python to import. It is never looked up. One object for each name in a pickle. */
export class GlobalRef extends PickleNode {
  readonly module: string;
  readonly name: string;
  /** Byte at which the pickle first names it. */
  readonly at: number;
  /** How often it was put on the stack, and how often it was called there. The difference is its uses as a value. */
  pushes = 0;
  calls = 0;

  constructor(module: string, name: string, at: number) {
    super();
    this.module = module;
    this.name = name;
    this.at = at;
  }

  /** Whether the pickle calls it. */
  get called(): boolean {
    return this.calls > 0;
  }

  get path(): string {
    return `${this.module}.${this.name}`;
  }

  get kind(): string {
    return `name ${this.path}`;
  }
}

/** A reference to something outside the pickle, when nobody resolves it. */
export class PersistentId extends PickleNode {
  readonly id: PickleValue;

  constructor(id: PickleValue) {
    super();
    this.id = id;
  }

  get kind(): string {
    return "persistent id";
  }
}

/** What a value is, in Python's words. */
export function kindOf(value: PickleValue): string {
  if (value === null) return "None";
  if (value instanceof PickleNode) return value.kind;
  if (typeof value === "boolean") return "bool";
  return typeof value === "string" ? "str" : "int";
}
