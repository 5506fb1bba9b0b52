import { SafetensorsError } from "../../errors.ts";
import { runPickle } from "../pickle/machine.ts";
import type { PickleValue } from "../pickle/values.ts";
import type { Steps } from "../steps.ts";
import type { JoblibReader } from "./joblib.ts";
import { ScanHooks } from "./pickle-hooks.ts";
import { SweepNotes } from "./sweep-notes.ts";

/** Why and where a pickle could not be followed: as in `SafetensorsError`, whose `details.kind` this is. */
export interface Failure {
  readonly at: number;
  readonly code: string;
  readonly kind: string | undefined;
  readonly reason: string;
}

/** What became of a pickle: its value, or why and where it could not be followed. */
export interface Outcome {
  readonly value?: PickleValue;
  readonly end?: number;
  readonly failure?: Failure;
}

/** Bytes of a later pickle in a row in which the first array is looked for. */
const FIRST_LOOK = 4096;

/** A pickle as one reader follows it. */
export interface Followed {
  /** What it is followed in. */
  readonly bytes: Uint8Array;
  /** What a sweep shows that passes over the same arrays. */
  readonly notes: SweepNotes;
  readonly hooks: ScanHooks;
  readonly outcome: Outcome;
}

/** Follows one pickle from `start` as joblib does. No error ends it. */
export function* followPickle(bytes: Uint8Array, start: number): Steps<Followed> {
  // A sweep that takes arrays for opcodes can go on to the end of the file for each pickle in a row; for the first one that
  // costs no more than reading the file.
  for (let length = start === 0 ? bytes.length : FIRST_LOOK; ; length *= 16) {
    const near = bytes.subarray(0, start + length);
    const notes = yield* SweepNotes.take(near, start);
    const hooks = new ScanHooks(notes.recalled, "joblib", bytes);
    const outcome = yield* run(near, start, hooks);
    // A sweep knows neither where an array ends nor, before that, what the opcodes after it recall.
    if (hooks.arrays.made > 0) return yield* followArrays(bytes, start, "joblib");
    if (notes.ended.why !== "cut" || near.length === bytes.length) return { bytes, notes, hooks, outcome };
  }
}

/** Follows a pickle that has arrays of joblib in it. */
export function* followArrays(bytes: Uint8Array, start: number, reader: JoblibReader): Steps<Followed> {
  const hooks = new ScanHooks(undefined, reader, bytes);
  const outcome = yield* run(bytes, start, hooks);
  const notes = yield* SweepNotes.take(bytes, start, hooks.arrays.passed);
  return { bytes, notes, hooks, outcome };
}

/** Whether a pickle goes on where the bytes end, so that more of them may help. */
export function wantsMore({ notes, hooks, outcome }: Followed): boolean {
  return outcome.failure !== undefined && (hooks.arrays.isCut || notes.ended.why === "cut");
}

function* run(bytes: Uint8Array, start: number, hooks: ScanHooks): Steps<Outcome> {
  try {
    const { value, end } = yield* runPickle(bytes, hooks, start);
    return { value, end };
  } catch (error) {
    // Whatever it is, also a defect of the machine: such a file must not pass.
    const known = error instanceof SafetensorsError ? error : undefined;
    const reason = known?.reason ?? (error instanceof Error ? error.message : String(error));
    const { at = start, kind } = known?.details ?? {};
    return { failure: { at, code: known?.code ?? "", kind, reason } };
  }
}
