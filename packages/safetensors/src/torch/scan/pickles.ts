import { MAX_PICKLE_BYTES } from "../../limits.ts";
import { fromBytes } from "../../source/memory.ts";
import { isScriptClass } from "../globals.ts";
import { MAX_STACKED_PICKLES } from "../limits.ts";
import { isPlainName } from "./judge-name.ts";
import { LEGACY_MAGIC, legacyStorages } from "./legacy.ts";
import type { Part, Scan } from "./part.ts";
import { PickleWindow } from "./pickle-window.ts";
import type { NestedBytes, PickleScan } from "./scan-pickle.ts";
import type { StorageUse } from "./storage-uses.ts";

/**
 * What is known of bytes that may be pickles.
 *
 * - `loaded`: something loads them as one; if they are none, that is a finding.
 * - `file`: they may be one: what begins as a pickle, names something, or can be carried out, is one.
 * - `data`: they are something else: they are a pickle too only if they name something.
 */
export type PickleMode = "loaded" | "file" | "data";

/**
 * How many bytes that are no pickle belong to the pickle of this index, which ends at `end`. Nothing, after a finding, if
 * they are not what they should be.
 */
export type BytesAfter = (index: number, result: PickleScan, end: number) => Promise<number | undefined>;

/** What is known of the pickles of a part. */
export interface PickleLayout {
  /** Where the first one begins. */
  readonly at?: number;
  /** Given if there are to be several pickles. */
  readonly bytesAfter?: BytesAfter;
  /** Whether persistent ids are numbers of what stands elsewhere. */
  readonly numbered?: boolean;
  /** Whether the classes of TorchScript that it names are in its archive. */
  readonly isScript?: boolean;
}

/** What was found at the start of a part. */
export interface PickleResult {
  readonly isPickle: boolean;
  /** Storages that the pickles refer to, and nobody has accounted for. */
  readonly storages: ReadonlyMap<string, StorageUse>;
}

/** Scans the pickles that follow each other in a part, and accounts for what comes after them. */
export async function scanPickles(
  scan: Scan,
  part: Part,
  mode: PickleMode,
  layout: PickleLayout = {},
): Promise<PickleResult> {
  return new Pickles(scan, part, mode, layout).scan();
}

/** What is reported of a pickle. */
type Reported = Pick<PickleScan, "drafts" | "globals" | "nested">;

/** What a look into nested bytes costs, however few they are, in bytes: so many small ones end somewhere too. */
const NESTED_COST = 4096;

class Pickles {
  readonly #scan: Scan;
  readonly #part: Part;
  readonly #mode: PickleMode;
  readonly #numbered: boolean;
  readonly #isScript: boolean;
  readonly #window: PickleWindow;
  #storages: Map<string, StorageUse> = new Map();
  #bytesAfter: BytesAfter | undefined;
  /** Results that are not reported as long as this may be no pickle. */
  #waiting: (() => Promise<void>)[] = [];
  #isPickle = false;
  #end: number;

  constructor(
    scan: Scan,
    part: Part,
    mode: PickleMode,
    { at = 0, bytesAfter, numbered = false, isScript = false }: PickleLayout,
  ) {
    this.#scan = scan;
    this.#part = part;
    this.#mode = mode;
    this.#numbered = numbered;
    this.#isScript = isScript;
    const isWhole = mode === "loaded" && bytesAfter === undefined;
    this.#window = new PickleWindow(scan, part, isWhole, mode === "data");
    this.#bytesAfter = bytesAfter;
    this.#end = at;
  }

  async scan(): Promise<PickleResult> {
    const { size } = this.#part.source;
    for (let index = 0; this.#end < size || index === 0; index++) {
      if (index === MAX_STACKED_PICKLES) {
        this.#add("limit", `holds more than ${MAX_STACKED_PICKLES} pickles in a row`);
        break;
      }
      if (!(await this.#next(index))) break;
    }
    return { isPickle: this.#isPickle, storages: this.#storages };
  }

  /** Scans one pickle; whether another can follow. By itself, so that its values are gone before those of the next one. */
  async #next(index: number): Promise<boolean> {
    const { size } = this.#part.source;
    const result = await this.#window.scan(this.#end);
    const goesOn = this.#mode === "data" && (await this.#window.goesOn(this.#end, result));
    if (!goesOn && !this.#mayBePickle(index, result)) {
      if (this.#isPickle)
        this.#add("bytes-after-end", `has ${size - this.#end} bytes after the end of the pickle`);
      return false;
    }
    if (index === 1 && this.#bytesAfter === undefined) await this.#noteSecond();
    await this.#take(result, goesOn);
    this.#end = this.#window.offset + result.end;
    if (index === 0 && result.value === LEGACY_MAGIC && this.#bytesAfter === undefined)
      this.#bytesAfter = legacyStorages(this.#scan, this.#part, () => this.#storages);
    const after = await this.#bytesAfter?.(index, result, this.#end);
    if (after !== undefined) this.#end += after;
    return result.ended === "stop";
  }

  /** Whether the bytes at the end can be a pickle at all. */
  #mayBePickle(index: number, result: PickleScan): boolean {
    if (index === 0 && this.#mode === "loaded") return true;
    return this.#looksSo(result) || result.globals.length > 0 || this.#asksForNames(result);
  }

  /** Whether a result shows that this is a pickle, and no data that happens to look so. */
  #shows(result: PickleScan): boolean {
    if (this.#mode === "loaded" || this.#asksForNames(result)) return true;
    if (this.#mode === "file") return this.#looksSo(result);
    return this.#window.begins(this.#end) && result.isFollowed && result.nested.length > 0;
  }

  /**
   * Whether a pickle asks for names that can be names: data that looks like one by chance does not. Text may begin so, but
   * modules that are imported by chance, and are none that can do harm, do nothing if nothing is called.
   */
  #asksForNames({ drafts, globals, callsNothing }: PickleScan): boolean {
    if (drafts.some(([code]) => code === "forbidden-global" || code === "hidden-name")) return true;
    const mayDoNothing = this.#mode === "data" && !this.#window.begins(this.#end);
    if (mayDoNothing && (callsNothing || this.#window.isHarmless(this.#end))) return false;
    return (
      globals.some(({ known }) => isPlainName(known.path)) ||
      drafts.some(([code, , details]) => code === "unknown-global" && isPlainName(details?.global ?? ""))
    );
  }

  #looksSo({ isFollowed, ended }: PickleScan): boolean {
    return this.#window.begins(this.#end) || isFollowed || ended === "stop";
  }

  /** Reports a result, and those before it, if it shows that this is a pickle. */
  async #take(result: PickleScan, goesOn: boolean): Promise<void> {
    const { offset } = this.#window;
    // Not the result, whose value may be large.
    const { drafts, globals, nested } = result;
    this.#waiting.push(() => this.#report(offset, { drafts, globals, nested }));
    if (this.#storages.size === 0) this.#storages = result.storages;
    else for (const [key, use] of result.storages) this.#storages.set(key, use);
    if (!this.#isPickle && (goesOn || this.#shows(result))) {
      this.#isPickle = true;
      this.#scan.report.addScanned(this.#part.where);
    }
    if (!this.#isPickle) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const one of waiting) await one();
    if (this.#window.isCut(result)) this.#add("limit", `is a pickle of more than ${MAX_PICKLE_BYTES} bytes`);
  }

  async #report(offset: number, { drafts, globals, nested }: Reported): Promise<void> {
    const { where } = this.#part;
    for (const [code, message, details = {}] of drafts) {
      if (code === "persistent-id" && this.#numbered) continue;
      if (code === "unknown-global" && this.#isScript && isScriptClass(details.global ?? "")) continue;
      const at = details.at === undefined ? undefined : details.at + offset;
      this.#scan.report.add(where, [code, message, { ...details, at }]);
    }
    for (const { known, called } of globals) {
      const isUnknown = !this.#isScript && isScriptClass(known.path);
      this.#scan.report.addGlobal(where, isUnknown ? { ...known, role: "unknown" } : known, called);
    }
    for (const one of nested) await this.#scanNested(offset, one);
  }

  async #scanNested(offset: number, { bytes, at, loaded }: NestedBytes): Promise<void> {
    // What a pickle loads is read where it lies, and is mostly the data of tensors.
    const read = loaded && at !== undefined ? 0 : bytes.length;
    if (!this.#scan.spend(this.#part, read + NESTED_COST)) return;
    const place = at === undefined ? undefined : at + offset;
    const { member, base } = this.#part.where;
    const inner: Part = {
      source: fromBytes(bytes),
      where: {
        member: [...member, place === undefined ? "bytes written as text" : `bytes at ${place}`],
        base: place === undefined || base === undefined ? undefined : base + place,
      },
      archives: this.#part.archives,
      pickles: this.#part.pickles + 1,
      isLoaded: loaded,
    };
    if (loaded || bytes[0] === 0x50) await this.#scan.enter(this.#part, inner);
    // They may be any data that happens to begin so.
    else if (this.#scan.mayEnter(this.#part, inner)) await scanPickles(this.#scan, inner, "data");
  }

  /** Loaders take the first pickle of a member, and files of several are read one by one. */
  async #noteSecond(): Promise<void> {
    const { size } = this.#part.source;
    if (this.#mode === "loaded")
      this.#add("bytes-after-end", `has ${size - this.#end} bytes after the end of the pickle`);
    else if (this.#mode === "file") this.#add("several-pickles", "holds several pickles in a row");
  }

  #add(code: "limit" | "bytes-after-end" | "several-pickles", message: string): void {
    this.#scan.add(this.#part, code, message, { at: this.#end });
  }
}
