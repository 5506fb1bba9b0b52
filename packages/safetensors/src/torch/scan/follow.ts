import { SafetensorsError } from "../../errors.ts";
import { MAX_JOBLIB_WORK } from "../limits.ts";
import { runPickle } from "../pickle/machine.ts";
import type { PickleValue } from "../pickle/values.ts";
import { arrayLength, type JoblibReader } from "./joblib.ts";
import { ScanHooks } from "./pickle-hooks.ts";
import { sweepPickle } from "./sweep.ts";
import { SweepNotes } from "./sweep-notes.ts";

/** Late announcements of a protocol that are passed: an array of objects has one. */
const MAX_LATE_PROTOS = 16;
const PROTO_BYTES = 2;

/** Bytes of arrays that were taken out, so that the opcodes follow each other. */
interface Cut {
  readonly at: number;
  readonly length: number;
}

/** What became of a pickle: its value, or why and where it could not be followed. */
export interface Outcome {
  readonly value?: PickleValue;
  readonly end?: number;
  readonly failure?: { readonly at: number; readonly code: string; readonly reason: string };
}

/** A pickle inside an array. */
interface ArrayPickle {
  readonly bytes: Uint8Array;
  readonly at: number;
}

/** A pickle as one reader follows it. */
export interface Followed {
  /** The bytes without those of arrays. */
  readonly opcodes: Uint8Array;
  /** What a sweep of these shows. */
  readonly notes: SweepNotes;
  readonly hooks: ScanHooks;
  readonly outcome: Outcome;
  /** Arrays of Python objects. */
  readonly arrays: readonly ArrayPickle[];
  /** Where the first array lies. */
  readonly firstArray: number | undefined;
  /** The place in the bytes as they were given. */
  place(at: number): number;
}

/** Follows one pickle from `start`, past the arrays of joblib that lie in it. No error ends it. */
export function followPickle(bytes: Uint8Array, start: number, reader: JoblibReader): Followed {
  const cuts: Cut[] = [];
  const arrays: ArrayPickle[] = [];
  const place = (at: number) => originalPlace(cuts, at);
  let passed = 0;
  let work = 0;
  for (let opcodes = bytes; ; ) {
    const notes = new SweepNotes(opcodes, start);
    const hooks = new ScanHooks(notes.recalled, reader, passed, opcodes.length);
    const outcome = run(opcodes, start, hooks);
    const firstArray = cuts[0]?.at;
    const followed = { opcodes, notes, hooks, outcome, arrays, firstArray, place };
    const { failure } = outcome;
    if (failure === undefined || work > MAX_JOBLIB_WORK) return followed;
    const array = hooks.arrays.place;
    const at = array ? failure.at + 1 : failure.at;
    const length = array
      ? arrayLength(opcodes, at, array)
      : lateProto(followed, reader, cuts.length - passed);
    if (length === undefined) return followed;
    if (array?.content === "pickle") arrays.push({ bytes: opcodes.subarray(at, at + length), at: place(at) });
    if (array) passed++;
    work += opcodes.length;
    const rest = new Uint8Array(opcodes.length - length);
    rest.set(opcodes.subarray(0, at));
    rest.set(opcodes.subarray(at + length), at);
    opcodes = rest;
    cuts.push({ at, length });
  }
}

/** Bytes of a PROTO that the machine refuses, if they are taken out: to Python a second one does nothing. */
function lateProto(followed: Followed, reader: JoblibReader, taken: number): number | undefined {
  return reader !== "joblib" && taken < MAX_LATE_PROTOS && stopsAtProto(followed) ? PROTO_BYTES : undefined;
}

/** Whether a pickle cannot be followed only because its protocol is announced late. */
export function stopsAtProto({ opcodes, outcome }: Followed): boolean {
  const at = outcome.failure?.at ?? opcodes.length;
  return opcodes[at] === 0x80 && opcodes[at + 1]! <= 5;
}

/** Whether a pickle goes on where the bytes end, so that more of them may help. */
export function wantsMore({ opcodes, hooks, outcome }: Followed): boolean {
  if (outcome.failure === undefined) return false;
  return hooks.arrays.place !== undefined || sweepPickle(opcodes, outcome.failure.at).why === "cut";
}

function originalPlace(cuts: readonly Cut[], at: number): number {
  let place = at;
  for (const cut of cuts) if (cut.at <= at) place += cut.length;
  return place;
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
