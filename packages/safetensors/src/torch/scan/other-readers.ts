import { classifyGlobal, type KnownGlobal } from "../globals.ts";
import { NOT_CALLABLE } from "../pickle/calls.ts";
import { decodeLatin1, decodeUtf8 } from "../pickle/text.ts";
import type { GlobalRef } from "../pickle/values.ts";
import { type Followed, followArrays, type Outcome } from "./follow.ts";
import type { JoblibReader } from "./joblib.ts";
import type { PassedArray } from "./joblib-arrays.ts";
import { isPlainName, judgeName } from "./judge-name.ts";
import type { ScanHooks } from "./pickle-hooks.ts";
import type { Draft } from "./report.ts";
import { ODDITIES, STACK_GLOBAL, sweepPickle } from "./sweep.ts";

/** Readers that take other bytes for arrays than joblib does, and what it takes for arrays for opcodes. */
const OTHER_READERS: readonly JoblibReader[] = ["old joblib", "pickle"];

const READING = "to a reader that takes an array for opcodes, ";

/** How the others follow a pickle in which there are arrays of joblib. */
export function followOthers({ hooks }: Followed, bytes: Uint8Array, start: number): Followed[] {
  return hooks.arrays.made > 0 ? OTHER_READERS.map((reader) => followArrays(bytes, start, reader)) : [];
}

/** What is wrong to others only. That they fail in the bytes of an array is as it should be: random bytes name nothing. */
export function draftsOfOthers(bytes: Uint8Array, joblib: Followed, others: readonly Followed[]): Draft[] {
  const findings = new OtherFindings(bytes, joblib.hooks);
  for (const other of others) findings.add(other);
  return findings.drafts;
}

const MEMOIZE = 0x94;

type Name = Pick<GlobalRef, "module" | "name" | "at">;

class OtherFindings {
  readonly drafts: Draft[] = [];
  readonly #bytes: Uint8Array;
  /** What was found already: names by their paths, findings, and what is loaded. */
  readonly #names: Set<string>;
  readonly #said: Set<string>;
  readonly #loaded: Set<string>;
  /** Modules that have names in the pickle. */
  readonly #modules: Set<string>;
  /** An array of objects is a pickle, and is judged as one. Others read it with a memo that is not its own. */
  readonly #mixed: PassedArray | undefined;
  #mixedTexts: Map<number, number> | undefined;

  constructor(bytes: Uint8Array, joblib: ScanHooks) {
    this.#bytes = bytes;
    this.#names = new Set(Array.from(joblib.names.values(), ({ path }) => path));
    this.#modules = new Set(Array.from(joblib.names.keys(), ({ module }) => module));
    this.#said = new Set(joblib.drafts.map(([code, message]) => `${code} ${message}`));
    this.#loaded = new Set(joblib.loaded.map((item) => this.#contentOf(item)));
    this.#mixed = joblib.arrays.passed.find(({ isPickle }) => isPickle);
  }

  add({ hooks, notes, outcome }: Followed): void {
    hooks.checkValues();
    for (const [ref, known] of hooks.names) this.#judge(known, ref, ref.called);
    for (const [code, message, details] of hooks.drafts) {
      const isMadeUp = code === "persistent-id" || (code === "indirect-call" && this.#isMixed(details?.at));
      if (!isMadeUp && !this.#said.has(`${code} ${message}`)) this.#add(code, message, details?.at);
    }
    if (hooks.loaded.some((item) => !this.#loaded.has(this.#contentOf(item))))
      this.#add("indirect-load", "loads another pickle");
    if (outcome.failure) return this.#sweepRest(outcome.failure);
    for (const [oddity, at] of notes.oddities) {
      // An array of objects announces its own protocol.
      if (oddity !== "protocol") this.#add(...ODDITIES[oddity], at);
    }
  }

  /** The names after a failure: the machine refuses some opcodes that a reader of Python takes. */
  #sweepRest({ at: failedAt, code, reason }: NonNullable<Outcome["failure"]>): void {
    // These end every reader: a name that is no text, and what cannot be called.
    const isNoName = this.#bytes[failedAt] === STACK_GLOBAL && code === "INVALID_PICKLE";
    if (isNoName || reason.endsWith(NOT_CALLABLE)) return;
    let hidden: number | undefined;
    let isUsed = false;
    const { why } = sweepPickle(this.#bytes, failedAt, {
      isLate: true,
      name: (module, name, at) => {
        this.#judge(classifyGlobal(module, name), { module, name, at }, false);
        // Values that were dropped between may have made it look harmless.
        if (this.#bytes[at] === STACK_GLOBAL) hidden ??= at;
      },
      oddity: (oddity, at) => {
        if (oddity === "hidden") hidden ??= at;
      },
      call: () => {
        isUsed ||= hidden !== undefined;
      },
    });
    // Random bytes make one up now and then, but nothing of it.
    if (hidden !== undefined && (isUsed || why === "stop")) this.#add(...ODDITIES.hidden, hidden);
  }

  #judge(known: KnownGlobal, { module, name, at }: Name, called: boolean): void {
    const { path } = known;
    const [code, message] = judgeName(known, called) ?? [];
    if (code === undefined || this.#names.has(path) || !isPlainName(path)) return;
    if (this.#isMixed(at)) {
      const isMadeUp = this.#isRecombined(name, at);
      if (code === "forbidden-global" ? isMadeUp && this.#modules.has(module) : isMadeUp || !called) return;
    }
    this.#names.add(path);
    this.drafts.push([code, READING + message!, { at, global: path }]);
  }

  /** Without a place it may be there. */
  #isMixed(place: number | undefined): boolean {
    if (this.#mixed === undefined || place === undefined) return this.#mixed !== undefined;
    const { at, length } = this.#mixed;
    return place >= at && place < at + length;
  }

  /** Whether the last part of a name is text right before STACK_GLOBAL, so that the array names it with a module too. */
  #isRecombined(name: string, at: number): boolean {
    if (this.#bytes[at] !== STACK_GLOBAL || this.#bytes[at - 1] !== MEMOIZE) return false;
    const start = this.#texts().get(at - 1);
    return start !== undefined && decodeUtf8(this.#bytes, start, at - 1) === name;
  }

  /** Where texts of the array begin, by where they end. */
  #texts(): Map<number, number> {
    const texts = new Map<number, number>();
    if (this.#mixed && !this.#mixedTexts)
      sweepPickle(this.#bytes, this.#mixed.at, {
        literal: (start, end, isText) => {
          if (isText) texts.set(end, start);
        },
      });
    this.#mixedTexts ??= texts;
    return this.#mixedTexts;
  }

  /** Text, or bytes by their place; those that stand elsewhere, by themselves. */
  #contentOf(item: Uint8Array | string): string {
    if (typeof item === "string") return `text ${item}`;
    return item.buffer === this.#bytes.buffer
      ? `${item.length} at ${item.byteOffset}`
      : `bytes ${decodeLatin1(item)}`;
  }

  #add(code: Draft[0], message: string, at?: number): void {
    this.drafts.push([code, READING + message, at === undefined ? {} : { at }]);
  }
}
