import { quote } from "../../errors.ts";
import { classifyGlobal, type KnownGlobal } from "../globals.ts";
import { decodeUtf8 } from "../pickle/text.ts";
import type { PickleValue } from "../pickle/values.ts";
import type { Steps } from "../steps.ts";
import { type Followed, followPickle, type Outcome, type Seen, wantsMore } from "./follow.ts";
import { isPlainName, judgeName } from "./judge-name.ts";
import { draftsOfOthers, followOthers, goesTooFar } from "./other-readers.ts";
import type { Draft } from "./report.ts";
import type { StorageUse } from "./storage-uses.ts";
import {
  INST,
  ODDITIES,
  type Oddity,
  opcodeText,
  STACK_GLOBAL,
  type SweepEnd,
  type SweepVisitor,
  sweepPickle,
} from "./sweep.ts";
import type { SweepNotes } from "./sweep-notes.ts";

/** Bytes inside a pickle that may be, or are, loaded themselves. */
export interface NestedBytes {
  readonly bytes: Uint8Array;
  /** Where they are in the pickle; undefined if they stand there in another form. */
  readonly at: number | undefined;
  /** Whether the pickle asks for them to be loaded; otherwise they only look as if they could be. */
  readonly loaded: boolean;
}

/** What one pickle is and asks for. */
export interface PickleScan {
  /** Whether it could be carried out. */
  readonly isFollowed: boolean;
  /** What it makes, if nothing is an array of joblib. */
  readonly value: PickleValue | undefined;
  readonly end: number;
  readonly ended: SweepEnd;
  /** Whether it goes on where the bytes end, so that more of them may help. */
  readonly wantsMore: boolean;
  /** Whether it calls nothing of what it names, and comes to an end, or fails where every reader of Python does. */
  readonly callsNothing: boolean;
  /** Places and reasons are those of the bytes given. */
  readonly drafts: readonly Draft[];
  readonly globals: readonly { readonly known: KnownGlobal; readonly called: boolean }[];
  readonly nested: readonly NestedBytes[];
  readonly storages: Map<string, StorageUse>;
}

/**
 * Scans one pickle from `start`. Nothing is run, and no error ends it: what is wrong is among the findings.
 *
 * @param isData whether this is data that may be none: what comes after the place where every reader of Python fails then says
 *   nothing.
 */
export function* scanPickle(bytes: Uint8Array, start: number, isData = false): Steps<PickleScan> {
  const followed = yield* followPickle(bytes, start);
  const others = yield* followOthers(followed, bytes, start);
  return yield* new Findings(bytes, start, followed, others).result(isData);
}

class Findings {
  readonly #bytes: Uint8Array;
  readonly #start: number;
  readonly #followed: Followed;
  readonly #notes: SweepNotes;
  readonly #seen: Seen;
  readonly #others: readonly Followed[];
  readonly #drafts: Draft[] = [];
  /** Names that come after a failure. */
  readonly #swept: { readonly known: KnownGlobal; readonly called: boolean }[] = [];
  readonly #oddPlaces = new Set<number>();

  constructor(bytes: Uint8Array, start: number, followed: Followed, others: readonly Followed[]) {
    this.#bytes = bytes;
    this.#start = start;
    this.#followed = followed;
    this.#notes = followed.notes;
    this.#seen = followed.seen;
    this.#others = others;
  }

  *result(isData: boolean): Steps<PickleScan> {
    const { outcome, seen } = this.#followed;
    const { failure } = outcome;
    const names = Array.from(seen.names, ([{ called, at }, known]) => ({ known, called, at }));
    for (const { known, called, at } of names) this.#judge(known, at, called);
    for (const draft of seen.drafts) this.#drafts.push(draft);
    if (!failure && !seen.arrays.isAsWritten(seen.names))
      this.#drafts.push(["malformed-pickle", "uses joblib's place of an array in another way than joblib"]);
    const { end, why } = this.#notes.ended;
    const dead = isData && failure?.kind === "fatal" ? failure.at : undefined;
    if (failure && dead === undefined) yield* this.#sweepNames(failure.at);
    else
      for (const [oddity, at] of this.#notes.oddities)
        if (dead === undefined || at < dead) this.#addOddity(oddity, at);
    const isLimit = failure?.code === "LIMIT_EXCEEDED";
    if (failure && (isLimit || !this.#oddPlaces.has(failure.at))) {
      const code = isLimit ? "limit" : "malformed-pickle";
      this.#drafts.push([code, `cannot be followed: ${failure.reason}`, this.#place(failure.at)]);
    } else if (!failure && end !== outcome.end) {
      this.#drafts.push(["malformed-pickle", "ends at two places", this.#place(end)]);
    }
    return {
      isFollowed: !failure,
      value: outcome.value,
      end: outcome.end ?? end,
      ended: why,
      wantsMore:
        wantsMore(this.#followed) ||
        this.#others.some((other) => wantsMore(other) && !goesTooFar(this.#bytes, other)),
      callsNothing: this.#callsNothing(outcome),
      drafts: [...this.#drafts, ...(yield* draftsOfOthers(this.#bytes, this.#followed, this.#others))],
      globals: [...names, ...this.#swept],
      nested: [...this.#arrays(), ...this.#nested()],
      storages: seen.storages,
    };
  }

  #callsNothing({ end, failure }: Outcome): boolean {
    const ended = this.#notes.ended.end;
    // Of INST at the end of a file, Python's own reader takes a part of its last line.
    const isEnd = ended === (failure ? failure.at : end) && !(failure && this.#bytes[ended] === INST);
    const { names, drafts } = this.#seen;
    if (!(isEnd || failure?.kind === "fatal") || drafts.length > 0) return false;
    return Array.from(names.keys()).every((ref) => !ref.called);
  }

  #judge(known: KnownGlobal, at: number, called: boolean): void {
    const fault = judgeName(known, called);
    if (fault) this.#drafts.push([...fault, { ...this.#place(at, known.path), global: known.path }]);
  }

  #addOddity(oddity: Oddity, at: number): void {
    const [code, message] = ODDITIES[oddity];
    this.#oddPlaces.add(at);
    this.#drafts.push([code, message, this.#place(at)]);
  }

  /** The oddities, and the names that come after a failure. */
  *#sweepNames(failedAt: number): Steps<void> {
    const seen = new Set<string>();
    const visitor: SweepVisitor = {
      oddity: (oddity, at) => this.#addOddity(oddity, at),
      name: (module, name, at) => {
        const known = classifyGlobal(module, name);
        if (at < failedAt || seen.has(known.path)) return;
        seen.add(known.path);
        const isPlain = isPlainName(known.path);
        if (isPlain) this.#swept.push({ known, called: false });
        // Values that were dropped between may have made it look harmless.
        const isSure = this.#bytes[at] !== STACK_GLOBAL;
        if (isPlain && (isSure || judgeName(known, false))) this.#judge(known, at, false);
        else if (!isSure)
          this.#drafts.push(["hidden-name", "may ask for another name than it seems", this.#place(at)]);
      },
    };
    yield* sweepPickle(this.#bytes, this.#start, visitor, this.#seen.arrays.passed);
  }

  /** Arrays of objects. */
  #arrays(): NestedBytes[] {
    const arrays = this.#seen.arrays.passed.filter(({ isPickle }) => isPickle);
    return arrays.map(({ at, length }) => ({
      bytes: this.#bytes.subarray(at, at + length),
      at,
      loaded: true,
    }));
  }

  /** What the pickle loads, and the literals that look as if they could be loaded, in their order. */
  #nested(): NestedBytes[] {
    const { buffer, byteOffset } = this.#bytes;
    const elsewhere: NestedBytes[] = [];
    const found = new Map<number, NestedBytes>();
    const texts = new Set(this.#seen.loaded.filter((item) => typeof item === "string"));
    for (const text of texts) elsewhere.push({ bytes: latin1(text), at: undefined, loaded: true });
    for (const [start, end, isText] of this.#notes.literals) {
      const bytes = this.#bytes.subarray(start, end);
      const text = isText ? decodeUtf8(bytes, 0, bytes.length) : undefined;
      if (!isText) found.set(start, { bytes, at: start, loaded: false });
      else if (text !== undefined && !texts.has(text))
        found.set(start, { bytes: latin1(text), at: undefined, loaded: false });
    }
    for (const bytes of this.#seen.loaded) {
      if (typeof bytes === "string") continue;
      const start = bytes.byteOffset - byteOffset;
      if (bytes.buffer === buffer) found.set(start, { bytes, at: start, loaded: true });
      // The bytes of STRING stand in the pickle in another form.
      else elsewhere.push({ bytes, at: undefined, loaded: true });
    }
    const inOrder = Array.from(found).sort(([a], [b]) => a - b);
    return [...elsewhere, ...inOrder.map(([, nested]) => nested)];
  }

  #place(at: number, name?: string): { at: number; opcode?: string } {
    const opcode = opcodeText(this.#bytes, at);
    if (opcode === undefined) return { at };
    return { at, opcode: name === undefined ? opcode : `${opcode} ${quote(name)}` };
  }
}

/** The bytes of the same numbers as the characters; what is above 255 keeps its low byte. */
function latin1(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
  return bytes;
}
