import { classifyGlobal, type KnownGlobal } from "../globals.ts";
import { type Followed, followPickle, stopsAtProto } from "./follow.ts";
import type { JoblibReader } from "./joblib.ts";
import { isPlainName, judgeName } from "./judge-name.ts";
import type { Draft } from "./report.ts";
import { sweepPickle } from "./sweep.ts";

/** Readers that take other bytes for arrays than joblib does, and what it takes for arrays for opcodes. */
const OTHER_READERS: readonly JoblibReader[] = ["old joblib", "pickle"];

const READING = "to a reader that takes an array for opcodes, ";

/** How the others follow a pickle in which there are arrays of joblib. */
export function followOthers({ hooks }: Followed, bytes: Uint8Array, start: number): Followed[] {
  return hooks.arrays.made > 0 ? OTHER_READERS.map((reader) => followPickle(bytes, start, reader)) : [];
}

/** What is wrong to others only. That they fail in the bytes of an array is as it should be: random bytes name nothing. */
export function draftsOfOthers(joblib: Followed, others: readonly Followed[]): Draft[] {
  const drafts: Draft[] = [];
  const names = new Set(Array.from(joblib.hooks.names.values(), ({ path }) => path));
  const said = new Set(joblib.hooks.drafts.map(([code, message]) => `${code} ${message}`));
  // An array of objects is a pickle, and has been judged as one. Here its memo is mixed up, so that it makes up names.
  const isMixed = joblib.firstArray !== undefined && joblib.arrays[0]?.at === joblib.firstArray;
  for (const other of others) {
    const { opcodes, hooks, outcome, place } = other;
    hooks.checkValues();
    if (stopsAtProto(other)) drafts.push(["odd-protocol", `${READING}announces its protocol many times`]);
    const judge = (known: KnownGlobal, at: number, called: boolean): void => {
      const [code, message] = judgeName(known, called) ?? [];
      if (code === undefined || names.has(known.path) || !isPlainName(known.path)) return;
      if (isMixed && code !== "forbidden-global") return;
      names.add(known.path);
      drafts.push([code, READING + message!, { at: place(at), global: known.path }]);
    };
    for (const [{ at, called }, known] of hooks.names) judge(known, at, called);
    // The machine refuses some opcodes that a reader of Python takes.
    if (outcome.failure)
      sweepPickle(opcodes, outcome.failure.at, {
        name: (module, name, at) => judge(classifyGlobal(module, name), at, false),
      });
    for (const [code, message] of hooks.drafts) {
      const isMadeUp = code === "persistent-id" || (isMixed && code === "indirect-call");
      if (!isMadeUp && !said.has(`${code} ${message}`)) drafts.push([code, READING + message]);
    }
    if (hooks.loaded.length > joblib.hooks.loaded.length)
      drafts.push(["indirect-load", `${READING}loads another pickle`]);
  }
  return drafts;
}
