import { quote, SafetensorsError } from "../../errors.ts";
import { classifyGlobal, type KnownGlobal } from "../globals.ts";
import { MAX_JOBLIB_WORK } from "../limits.ts";
import { runPickle } from "../pickle/machine.ts";
import { decodeUtf8 } from "../pickle/text.ts";
import type { PickleValue } from "../pickle/values.ts";
import { arrayLength } from "./joblib.ts";
import { ScanHooks, type StorageUse } from "./pickle-hooks.ts";
import type { Draft } from "./report.ts";
import { type Oddity, opcodeText, type SweepEnd, sweepPickle } from "./sweep.ts";
import { SweepNotes } from "./sweep-notes.ts";

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
  /** What it makes, if it could be carried out. */
  readonly value: PickleValue | undefined;
  readonly end: number;
  readonly ended: SweepEnd;
  /** Whether the bytes end within an array, so that more of them may help. */
  readonly wantsMore: boolean;
  /** Places and reasons are those of the bytes given. */
  readonly drafts: readonly Draft[];
  readonly globals: readonly { readonly known: KnownGlobal; readonly called: boolean }[];
  readonly nested: readonly NestedBytes[];
  readonly storages: Map<string, StorageUse>;
}

/** Bytes of arrays that were taken out, so that the opcodes follow each other. */
interface Cut {
  readonly at: number;
  readonly length: number;
}

/** Scans one pickle from `start`. Nothing is run, and no error ends it: what is wrong is among the findings. */
export function scanPickle(bytes: Uint8Array, start: number): PickleScan {
  const cuts: Cut[] = [];
  const arrays: NestedBytes[] = [];
  let work = 0;
  for (let opcodes = bytes; ; ) {
    const notes = new SweepNotes(opcodes, start);
    const hooks = new ScanHooks(notes.recalled, cuts.length);
    const outcome = run(opcodes, start, hooks);
    if (outcome.failure === undefined || hooks.array === undefined || work > MAX_JOBLIB_WORK) {
      return new Findings(opcodes, start, notes, hooks, outcome, cuts).result(arrays);
    }
    const at = outcome.failure.at + 1;
    const length = arrayLength(opcodes, at, hooks.array);
    if (length === undefined) return new Findings(opcodes, start, notes, hooks, outcome, cuts).result(arrays);
    if (hooks.array.content === "pickle")
      arrays.push({ bytes: opcodes.subarray(at, at + length), at: originalPlace(cuts, at), loaded: true });
    work += opcodes.length;
    const rest = new Uint8Array(opcodes.length - length);
    rest.set(opcodes.subarray(0, at));
    rest.set(opcodes.subarray(at + length), at);
    opcodes = rest;
    cuts.push({ at, length });
  }
}

function originalPlace(cuts: readonly Cut[], at: number): number {
  let place = at;
  for (const cut of cuts) if (cut.at <= at) place += cut.length;
  return place;
}

interface Outcome {
  readonly value?: PickleValue;
  readonly end?: number;
  readonly failure?: { readonly at: number; readonly code: string; readonly reason: string };
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

const ODDITIES: Readonly<Record<Oddity, readonly [code: Draft[0], message: string]>> = {
  protocol: ["odd-protocol", "announces its protocol twice, late, or one that is not known"],
  newer: ["newer-opcode", "uses an opcode that is newer than its protocol"],
  overwritten: ["memo-overwritten", "overwrites what it has memorized"],
  extension: ["extension-code", "asks for a registered extension, which can stand for any name"],
  buffer: ["outside-buffer", "wants a buffer from outside the file"],
  hidden: ["hidden-name", "asks for a name that cannot be followed"],
};

const STACK_GLOBAL = 0x93;

class Findings {
  readonly #bytes: Uint8Array;
  readonly #start: number;
  readonly #notes: SweepNotes;
  readonly #hooks: ScanHooks;
  readonly #outcome: Outcome;
  readonly #cuts: readonly Cut[];
  readonly #drafts: Draft[] = [];
  /** Names that come after a failure. */
  readonly #swept: { readonly known: KnownGlobal; readonly called: boolean }[] = [];
  readonly #oddPlaces = new Set<number>();

  constructor(
    bytes: Uint8Array,
    start: number,
    notes: SweepNotes,
    hooks: ScanHooks,
    outcome: Outcome,
    cuts: readonly Cut[],
  ) {
    this.#bytes = bytes;
    this.#start = start;
    this.#notes = notes;
    this.#hooks = hooks;
    this.#outcome = outcome;
    this.#cuts = cuts;
  }

  result(arrays: readonly NestedBytes[]): PickleScan {
    const { value, failure } = this.#outcome;
    this.#hooks.checkValues();
    const names = Array.from(this.#hooks.names, ([ref, known]) => {
      const explained = failure ? known : this.#hooks.explained(ref);
      return { known: explained, called: ref.called, at: ref.at };
    });
    for (const { known, called, at } of names) this.#judge(known, at, called);
    for (const draft of this.#hooks.drafts) this.#drafts.push(draft);
    const { end, why } = this.#notes.ended;
    if (failure) this.#sweepNames(failure.at);
    else for (const [oddity, at] of this.#notes.oddities) this.#addOddity(oddity, at);
    if (failure && !this.#oddPlaces.has(failure.at)) {
      const code = failure.code === "LIMIT_EXCEEDED" ? "limit" : "malformed-pickle";
      this.#drafts.push([code, `cannot be followed: ${failure.reason}`, this.#place(failure.at)]);
    } else if (!failure && end !== this.#outcome.end) {
      this.#drafts.push(["malformed-pickle", "ends at two places", this.#place(end)]);
    }
    return {
      value,
      end: originalPlace(this.#cuts, this.#outcome.end ?? end),
      ended: why,
      wantsMore: failure !== undefined && this.#hooks.array !== undefined,
      drafts: this.#drafts.map((draft) => this.#inOriginal(draft)),
      globals: [...names, ...this.#swept],
      nested: [...arrays, ...this.#nested()],
      storages: this.#hooks.storages,
    };
  }

  /** A finding with its place in the bytes as they were given. */
  #inOriginal([code, message, details]: Draft): Draft {
    if (details?.at === undefined) return [code, message, details];
    return [code, message, { ...details, at: originalPlace(this.#cuts, details.at) }];
  }

  #judge({ path, role, reason }: KnownGlobal, at: number, called: boolean): void {
    const judged = role === "forbidden" ? reason : role === "unknown" ? "nobody vouches for" : undefined;
    if (judged === undefined) return;
    const code = role === "forbidden" ? "forbidden-global" : "unknown-global";
    const message = `names ${quote(path)}, which ${judged}${called ? ", and calls it" : ""}`;
    this.#drafts.push([code, message, { ...this.#place(at, path), global: path }]);
  }

  #addOddity(oddity: Oddity, at: number): void {
    const [code, message] = ODDITIES[oddity];
    this.#oddPlaces.add(at);
    this.#drafts.push([code, message, this.#place(at)]);
  }

  /** The oddities, and the names that come after a failure. */
  #sweepNames(failedAt: number): void {
    const seen = new Set<string>();
    sweepPickle(this.#bytes, this.#start, {
      oddity: (oddity, at) => this.#addOddity(oddity, at),
      name: (module, name, at) => {
        const known = classifyGlobal(module, name);
        if (at < failedAt || seen.has(known.path) || !isPlainName(known.path)) return;
        seen.add(known.path);
        this.#swept.push({ known, called: false });
        // Values that were dropped between may have made it look harmless.
        const isSure = this.#bytes[at] !== STACK_GLOBAL;
        if (isSure || known.role === "forbidden" || known.role === "unknown") this.#judge(known, at, false);
        else this.#drafts.push(["hidden-name", "may ask for another name than it seems", this.#place(at)]);
      },
    });
  }

  /** What the pickle loads, and the literals that look as if they could be loaded, in their order. */
  #nested(): NestedBytes[] {
    const { buffer, byteOffset } = this.#bytes;
    const elsewhere: NestedBytes[] = [];
    const found = new Map<number, NestedBytes>();
    const texts = new Set(this.#hooks.loaded.filter((item) => typeof item === "string"));
    for (const text of texts) elsewhere.push({ bytes: latin1(text), at: undefined, loaded: true });
    for (const [start, end, isText] of this.#notes.literals) {
      const bytes = this.#bytes.subarray(start, end);
      const text = isText ? decodeUtf8(bytes, 0, bytes.length) : undefined;
      if (!isText) found.set(start, { bytes, at: originalPlace(this.#cuts, start), loaded: false });
      else if (text !== undefined && !texts.has(text))
        found.set(start, { bytes: latin1(text), at: undefined, loaded: false });
    }
    for (const bytes of this.#hooks.loaded) {
      if (typeof bytes === "string") continue;
      const start = bytes.byteOffset - byteOffset;
      if (bytes.buffer === buffer)
        found.set(start, { bytes, at: originalPlace(this.#cuts, start), loaded: true });
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

/** Whether a name looks as a Python name does, and not as any line of text. */
export function isPlainName(path: string): boolean {
  return /^[\w.]+$/.test(path);
}
