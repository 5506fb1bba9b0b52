import { SafetensorsError } from "../../errors.ts";
import type { KnownGlobal } from "../globals.ts";
import { runPickle } from "../pickle/machine.ts";
import { type GlobalRef, PickleNode, type PickleValue } from "../pickle/values.ts";
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

/** What became of a pickle: where it ends, or why and where it could not be followed. */
export interface Outcome {
  /** Its value, but no object where other readers are to be followed. */
  readonly value?: PickleValue | undefined;
  readonly end?: number;
  readonly failure?: Failure;
}

/** Bytes of a later pickle in a row in which the first array is looked for. */
const FIRST_LOOK = 4096;

/** What is known at the end of a pickle; names are what their use up to there shows, but to joblib only if it could be followed. */
export interface Seen extends Pick<ScanHooks, "drafts" | "loaded" | "arrays" | "storages"> {
  readonly names: ReadonlyMap<GlobalRef, KnownGlobal>;
}

/** A pickle as one reader follows it. Its objects are not kept for other readers: there is room for those of one reading. */
export interface Followed {
  /** What it is followed in. */
  readonly bytes: Uint8Array;
  /** What a sweep shows that passes over the same arrays. */
  readonly notes: SweepNotes;
  readonly seen: Seen;
  readonly outcome: Outcome;
}

/** Follows one pickle from `start` as joblib does. No error ends it. */
export function* followPickle(bytes: Uint8Array, start: number): Steps<Followed> {
  // A sweep that takes arrays for opcodes can go on to the end of the file for each pickle in a row; for the first one that
  // costs no more than reading the file.
  for (let length = start === 0 ? bytes.length : FIRST_LOOK; ; length *= 16) {
    const near = bytes.subarray(0, start + length);
    const notes = yield* SweepNotes.take(near, start);
    const { seen, outcome } = yield* run(near, start, "joblib", bytes, notes.recalled);
    // A sweep knows neither where an array ends nor, before that, what the opcodes after it recall.
    if (seen.arrays.made > 0) return yield* followArrays(bytes, start, "joblib");
    if (notes.ended.why !== "cut" || near.length === bytes.length) return { bytes, notes, seen, outcome };
  }
}

/** Follows a pickle that has arrays of joblib in it. */
export function* followArrays(bytes: Uint8Array, start: number, reader: JoblibReader): Steps<Followed> {
  const { seen, outcome } = yield* run(bytes, start, reader, bytes);
  const notes = yield* SweepNotes.take(bytes, start, seen.arrays.passed);
  return { bytes, notes, seen, outcome };
}

/** Whether a pickle goes on where the bytes end, so that more of them may help. */
export function wantsMore({ notes, seen, outcome }: Followed): boolean {
  return outcome.failure !== undefined && (seen.arrays.isCut || notes.ended.why === "cut");
}

/** @param whole the bytes that the values stand in, also those beyond `bytes`. */
function* run(
  bytes: Uint8Array,
  start: number,
  reader: JoblibReader,
  whole: Uint8Array,
  recalled?: ReadonlySet<number>,
): Steps<Pick<Followed, "seen" | "outcome">> {
  const hooks = new ScanHooks(recalled, reader, whole);
  const outcome = yield* outcomeOf(bytes, start, hooks);
  hooks.checkValues();
  const { drafts, loaded, arrays, storages } = hooks;
  const names = new Map(hooks.names);
  // Others fail in the bytes of most arrays, and what comes after that is looked at by itself.
  if (!outcome.failure || reader !== "joblib")
    for (const ref of names.keys()) names.set(ref, hooks.explained(ref));
  return { seen: { names, drafts, loaded, arrays, storages }, outcome };
}

function* outcomeOf(bytes: Uint8Array, start: number, hooks: ScanHooks): Steps<Outcome> {
  try {
    const { value, end } = yield* runPickle(bytes, hooks, start);
    return { value: hooks.arrays.made > 0 && value instanceof PickleNode ? undefined : value, end };
  } catch (error) {
    // Whatever it is, also a defect of the machine: such a file must not pass.
    const known = error instanceof SafetensorsError ? error : undefined;
    const reason = known?.reason ?? (error instanceof Error ? error.message : String(error));
    const { at = start, kind } = known?.details ?? {};
    return { failure: { at, code: known?.code ?? "", kind, reason } };
  }
}
