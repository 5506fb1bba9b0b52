import { quote } from "../../errors.ts";
import { classifyGlobal, type KnownGlobal } from "../globals.ts";
import { MAX_BYTES_BEYOND_PICKLE } from "../limits.ts";
import { argumentEnd } from "../pickle/extent.ts";
import { decodeLatin1, decodeUtf8 } from "../pickle/text.ts";
import { GlobalRef } from "../pickle/values.ts";
import { finish, type Steps } from "../steps.ts";
import { type Failure, type Followed, followArrays, type Seen } from "./follow.ts";
import { type JoblibReader, KEYS } from "./joblib.ts";
import type { PassedArray } from "./joblib-arrays.ts";
import { isPlainName, judgeName } from "./judge-name.ts";
import { ScanHooks } from "./pickle-hooks.ts";
import type { Draft } from "./report.ts";
import { ODDITIES, STACK_GLOBAL, sweepPickle } from "./sweep.ts";

/** Readers that take other bytes for arrays than joblib does, and what it takes for arrays for opcodes. */
const OTHER_READERS: readonly JoblibReader[] = ["old joblib", "pickle"];

const READING = "to a reader that takes an array for opcodes, ";

/**
 * How the others follow a pickle in which there are arrays of joblib. Not far beyond its end: for each pickle in a row
 * they could go on to the end of the file.
 */
export function* followOthers(
  { seen, outcome, notes }: Followed,
  bytes: Uint8Array,
  start: number,
): Steps<Followed[]> {
  if (seen.arrays.made === 0) return [];
  const end = outcome.end ?? notes.ended.end;
  const near = bytes.subarray(0, end + (end - start) + MAX_BYTES_BEYOND_PICKLE);
  const others: Followed[] = [];
  for (const reader of OTHER_READERS) others.push(yield* followArrays(near, start, reader));
  return others;
}

/** Whether another reader goes on in `bytes` where it is not followed, which random bytes do not. */
export function goesTooFar(bytes: Uint8Array, { bytes: near, notes, seen }: Followed): boolean {
  if (near.length === bytes.length) return false;
  const { end, why } = notes.ended;
  if (seen.arrays.isCut) return true;
  // A literal whose length is random ends nowhere.
  return (
    why === "cut" && (end >= near.length || (argumentEnd(near, end + 1, near[end]!) ?? 0) <= bytes.length)
  );
}

/** What is wrong to others only. That they fail in the bytes of an array is as it should be: random bytes name nothing. */
export function* draftsOfOthers(
  bytes: Uint8Array,
  joblib: Followed,
  others: readonly Followed[],
): Steps<Draft[]> {
  const findings = new OtherFindings(bytes, joblib.seen);
  for (const other of others) yield* findings.add(other);
  return findings.drafts;
}

const MEMOIZE = 0x94;

const FRAME = 0x95;

/** Texts of files of joblib besides names and keys. */
const USUAL = [
  "C",
  "F",
  "O8",
  "numpy",
  "numpy.core.multiarray",
  "numpy._core.multiarray",
  "_reconstruct",
  "ndarray",
];

const JOBLIB_MODULE = "joblib.numpy_pickle";

type Name = Pick<GlobalRef, "module" | "name" | "at">;

class OtherFindings {
  readonly drafts: Draft[] = [];
  readonly #bytes: Uint8Array;
  /** What was found already: names that are none to trust, by their paths, findings, and what is loaded. */
  readonly #names: Set<string>;
  readonly #said: Set<string>;
  readonly #loaded: Set<string>;
  /** Modules that have names in the pickle. */
  readonly #modules: Set<string>;
  /** Other texts that files of joblib have before an array of objects, or at its start. */
  readonly #usual: Set<string>;
  /** An array of objects is a pickle, and is judged as one. Others read it with a memo that is not its own. */
  readonly #mixed: PassedArray | undefined;
  #mixedTexts: Map<number, number> | undefined;

  constructor(bytes: Uint8Array, joblib: Seen) {
    this.#bytes = bytes;
    const found = Array.from(joblib.names).filter(([ref, known]) => judgeName(known, ref.called));
    this.#names = new Set(found.map(([, { path }]) => path));
    this.#modules = new Set(Array.from(joblib.names.keys(), ({ module }) => module));
    this.#usual = new Set([...KEYS, ...USUAL]);
    for (const { name } of joblib.names.keys()) this.#usual.add(name);
    this.#said = new Set(joblib.drafts.map(([code, message]) => `${code} ${message}`));
    this.#loaded = new Set(joblib.loaded.map((item) => this.#contentOf(item)));
    this.#mixed = joblib.arrays.passed.find(({ isPickle }) => isPickle);
  }

  *add(other: Followed): Steps<void> {
    const { seen, notes, outcome } = other;
    for (const [ref, known] of seen.names) this.#judge(known, ref, ref.called);
    for (const [code, message, details] of seen.drafts) {
      const isMadeUp = code === "persistent-id" || (code === "indirect-call" && this.#isMixed(details?.at));
      if (!isMadeUp && !this.#said.has(`${code} ${message}`)) this.#add(code, message, details?.at);
    }
    if (seen.loaded.some((item) => !this.#loaded.has(this.#contentOf(item))))
      this.#add("indirect-load", "loads another pickle");
    if (outcome.failure) return yield* this.#sweepRest(other, outcome.failure);
    for (const [oddity, at] of notes.oddities) {
      // An array of objects announces its own protocol.
      if (oddity !== "protocol") this.#add(...ODDITIES[oddity], at);
    }
  }

  /** The names after a failure: the machine refuses some opcodes that a reader of Python takes. */
  *#sweepRest(other: Followed, { at: failedAt, kind }: Failure): Steps<void> {
    const { bytes } = other;
    if (kind === "fatal") return;
    let hidden: number | undefined;
    let isUsed = false;
    let asks = false;
    let recalls = false;
    let callsRecalled = false;
    // Nobody knows what becomes of these names.
    const handedOn = new ScanHooks(undefined, "pickle", bytes);
    const { why } = yield* sweepPickle(bytes, failedAt, {
      isLate: true,
      name: (module, name, at) => {
        asks = true;
        this.#judge(classifyGlobal(module, name), { module, name, at }, false);
        // An array of objects is judged by what it does itself.
        if (!this.#isMixed(at)) {
          const ref = new GlobalRef(module, name, at);
          ref.pushes++;
          handedOn.onGlobal(ref);
        }
        // Values that were dropped between may have made it look harmless.
        if (this.#bytes[at] === STACK_GLOBAL) hidden ??= at;
      },
      oddity: (oddity, at) => {
        if (oddity === "hidden") hidden ??= at;
      },
      recall: () => {
        recalls = true;
      },
      call: () => {
        asks = true;
        callsRecalled ||= recalls;
        isUsed ||= hidden !== undefined;
      },
    });
    // What explained a name was not the last use of it, for all that is known.
    if (callsRecalled)
      for (const [{ module, name }, { path, role }] of other.seen.names)
        if (classifyGlobal(module, name).role !== role)
          this.#add("indirect-call", `may call ${quote(path)} again in another way`, failedAt);
    // Random bytes make one up now and then, but nothing of it.
    if (hidden !== undefined && (isUsed || why === "stop")) this.#add(...ODDITIES.hidden, hidden);
    handedOn.checkValues();
    for (const [code, message, details] of handedOn.drafts) this.#add(code, message, details?.at);
    if (asks && this.#isOfFrame(failedAt, kind))
      this.#add("malformed-pickle", "goes on where a frame does not let it", failedAt);
    if (goesTooFar(this.#bytes, other)) this.#add("limit", "goes on far beyond the end of the pickle");
  }

  /** Whether only a frame ends the reading: Python's reader in C makes sure that its bytes are there, and forgets it. */
  #isOfFrame(at: number, kind: string | undefined): boolean {
    // No file has more bytes than five bytes count.
    if (this.#bytes[at] === FRAME) return this.#bytes.subarray(at + 6, at + 9).every((byte) => byte === 0);
    return kind === "cut";
  }

  #judge(known: KnownGlobal, { module, name, at }: Name, called: boolean): void {
    const { path } = known;
    const [code, message] = judgeName(known, called) ?? [];
    if (code === undefined || this.#names.has(path) || !(called || isPlainName(path))) return;
    // All files of joblib name a class of this module, and arrays of objects recall it first.
    const isExcused = code === "unknown-global" || !called || module === JOBLIB_MODULE;
    if (isExcused && this.#isMixed(at)) {
      // Each array of objects recalls the module of this one.
      const isUsual = name === "dtype" || this.#usual.has(module);
      const isHonest = this.#modules.has(module) || (code === "unknown-global" && isUsual);
      if ((code === "unknown-global" && !called) || (isHonest && this.#isRecombined(name, at))) return;
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
      finish(
        sweepPickle(this.#bytes, this.#mixed.at, {
          literal: (start, end, isText) => {
            if (isText) texts.set(end, start);
          },
        }),
      );
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
