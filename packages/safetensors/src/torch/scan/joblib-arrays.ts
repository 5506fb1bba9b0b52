import { PyDict } from "../pickle/containers.ts";
import { PickleFault } from "../pickle/fault.ts";
import { type GlobalRef, PickleNode, type PickleValue } from "../pickle/values.ts";
import { ARRAY_WRAPPER, arrayLength, arrayPlace, type JoblibReader } from "./joblib.ts";

/** An array of joblib: its bytes follow the opcode that sets its state. */
class ArrayWrapper extends PickleNode {
  /** Joblib takes it off the stack when its state is set, so that this is done once. */
  isBuilt = false;

  get kind(): string {
    return "array of joblib";
  }
}

/** Bytes of an array, which a reader passed over, among the opcodes. */
export interface PassedArray {
  readonly at: number;
  readonly length: number;
  /** Whether it holds Python objects, and so is a pickle. */
  readonly isPickle: boolean;
}

/** The arrays of joblib in one pickle. */
export class JoblibArrays {
  readonly #bytes: Uint8Array;
  readonly #reader: JoblibReader;
  readonly #endsAtFirst: boolean;
  /** Arrays that were made. */
  made = 0;
  /** In their order. */
  readonly passed: PassedArray[] = [];
  /** Whether the bytes end before an array does. */
  isCut = false;

  /** @param endsAtFirst whether no array can be passed, as values were left out of the memo. */
  constructor(bytes: Uint8Array, reader: JoblibReader, endsAtFirst: boolean) {
    this.#bytes = bytes;
    this.#reader = reader;
    this.#endsAtFirst = endsAtFirst;
  }

  make(): PickleNode {
    this.made++;
    if (this.#endsAtFirst) throw new PickleFault("an array follows");
    return new ArrayWrapper();
  }

  /** Takes the state of an array, and gives its length; false for what is no array. */
  build(target: PickleNode, state: PickleValue, at: number): number | boolean {
    if (!(target instanceof ArrayWrapper)) return false;
    if (this.#reader === "pickle") return true;
    if (target.isBuilt || !(state instanceof PyDict)) return false;
    target.isBuilt = true;
    const place = arrayPlace(state);
    if (place === undefined) throw new PickleFault("an array follows whose size cannot be told");
    const { content, padded } = place;
    const length = arrayLength(this.#bytes, at, { content, padded: padded && this.#reader === "joblib" });
    this.isCut = length === undefined;
    if (length === undefined) throw new PickleFault("an array follows that is not there in full");
    this.passed.push({ at, length, isPickle: content === "pickle" });
    return length;
  }

  /** At the end: whether the name of the class was used as joblib does, of all names that were asked for. */
  isAsWritten(names: Iterable<readonly [GlobalRef, { readonly path: string }]>): boolean {
    let pushes = 0;
    for (const [ref, { path }] of names) if (path === ARRAY_WRAPPER) pushes += ref.pushes;
    return pushes === this.made && this.made === this.passed.length;
  }
}
