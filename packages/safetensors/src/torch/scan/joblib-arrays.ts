import { PyDict } from "../pickle/containers.ts";
import { PickleFault } from "../pickle/fault.ts";
import { PickleNode, type PickleValue } from "../pickle/values.ts";
import { type ArrayPlace, arrayPlace, type JoblibReader } from "./joblib.ts";

/** An array of joblib: its bytes follow the opcode that sets its state. */
class ArrayWrapper extends PickleNode {
  /** Joblib takes it off the stack when its state is set, so that this is done once. */
  isBuilt = false;

  get kind(): string {
    return "array of joblib";
  }
}

/** The arrays of joblib in one pickle, and where the bytes of the next one lie. */
export class JoblibArrays {
  readonly #reader: JoblibReader;
  readonly #toPass: number;
  /** Arrays that were made, and of these those that got their state. */
  made = 0;
  #built = 0;
  /** Set when the pickle goes on after the bytes of an array. */
  place: ArrayPlace | undefined;

  /** @param toPass arrays whose bytes are not there any more. */
  constructor(reader: JoblibReader, toPass: number) {
    this.#reader = reader;
    this.#toPass = toPass;
  }

  make(): PickleNode {
    this.made++;
    return new ArrayWrapper();
  }

  /** Takes the state of an array, and goes on only if its bytes are not there; false for what is no array. */
  build(target: PickleNode, state: PickleValue): boolean {
    if (!(target instanceof ArrayWrapper)) return false;
    if (this.#reader === "pickle") return true;
    if (target.isBuilt || !(state instanceof PyDict)) return false;
    target.isBuilt = true;
    if (++this.#built <= this.#toPass) return true;
    const place = arrayPlace(state);
    if (place === undefined) throw new PickleFault("an array follows whose size cannot be told");
    this.place = this.#reader === "old joblib" ? { ...place, padded: false } : place;
    throw new PickleFault("an array follows that is not there in full");
  }

  /** At the end: whether the name of the class, put on the stack so many times, was used as joblib does. */
  isAsWritten(names: number): boolean {
    return this.#reader !== "joblib" || (names === this.made && this.made === this.#built);
  }
}
