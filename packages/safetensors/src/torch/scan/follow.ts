import { SafetensorsError } from "../../errors.ts";
import { runPickle } from "../pickle/machine.ts";
import type { PickleValue } from "../pickle/values.ts";
import type { JoblibReader } from "./joblib.ts";
import { ScanHooks } from "./pickle-hooks.ts";
import { SweepNotes } from "./sweep-notes.ts";

/** What became of a pickle: its value, or why and where it could not be followed. */
export interface Outcome {
  readonly value?: PickleValue;
  readonly end?: number;
  readonly failure?: { readonly at: number; readonly code: string; readonly reason: string };
}

/** A pickle as one reader follows it. */
export interface Followed {
  /** What a sweep shows that passes over the same arrays. */
  readonly notes: SweepNotes;
  readonly hooks: ScanHooks;
  readonly outcome: Outcome;
}

/** Follows one pickle from `start` as joblib does. No error ends it. */
export function followPickle(bytes: Uint8Array, start: number): Followed {
  const notes = new SweepNotes(bytes, start);
  const hooks = new ScanHooks(notes.recalled, "joblib", bytes);
  const outcome = run(bytes, start, hooks);
  // A sweep knows neither where an array ends nor, before that, what the opcodes after it recall.
  return hooks.arrays.made === 0 ? { notes, hooks, outcome } : followArrays(bytes, start, "joblib");
}

/** Follows a pickle that has arrays of joblib in it. */
export function followArrays(bytes: Uint8Array, start: number, reader: JoblibReader): Followed {
  const hooks = new ScanHooks(undefined, reader, bytes);
  const outcome = run(bytes, start, hooks);
  return { notes: new SweepNotes(bytes, start, hooks.arrays.passed), hooks, outcome };
}

/** Whether a pickle goes on where the bytes end, so that more of them may help. */
export function wantsMore({ notes, hooks, outcome }: Followed): boolean {
  return outcome.failure !== undefined && (hooks.arrays.isCut || notes.ended.why === "cut");
}

function run(bytes: Uint8Array, start: number, hooks: ScanHooks): Outcome {
  try {
    const { value, end } = runPickle(bytes, hooks, start);
    return { value, end };
  } catch (error) {
    // Whatever it is, also a defect of the machine: such a file must not pass.
    const known = error instanceof SafetensorsError ? error : undefined;
    const reason = known?.reason ?? (error instanceof Error ? error.message : String(error));
    return { failure: { at: known?.details.at ?? start, code: known?.code ?? "", reason } };
  }
}
