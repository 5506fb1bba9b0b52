import { SafetensorsError } from "../../errors.ts";
import { fromBytes } from "../../source/memory.ts";
import { checkRange } from "../../source/range.ts";
import { readExactly } from "../../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../../source/source.ts";
import { MAX_NESTED_ARCHIVES, MAX_NESTED_BYTES, MAX_NESTED_PICKLES } from "../limits.ts";
import type { Draft, ReportBuilder, Where } from "./report.ts";

/** Bytes to be scanned: a file, a member of an archive, bytes in a pickle. */
export interface Part {
  readonly source: ByteSource;
  readonly where: Where;
  /** Archives around it. */
  readonly archives: number;
  /** Pickles around it. */
  readonly pickles: number;
  /** Whether a pickle has it loaded as a pickle or an archive. */
  readonly isLoaded?: boolean;
  /** Whether it is the member of a Keras archive in which its weights are. */
  readonly isKerasWeights?: boolean;
}

/** One scan of a file: what all its parts share. */
export class Scan {
  readonly report: ReportBuilder;
  readonly options: ReadOptions;
  /** Scans a part by its content; kept here because archives scan their members by it. */
  readonly scanPart: (scan: Scan, part: Part) => Promise<void>;
  #remaining: number = MAX_NESTED_BYTES;

  constructor(
    report: ReportBuilder,
    options: ReadOptions,
    scanPart: (scan: Scan, part: Part) => Promise<void>,
  ) {
    this.report = report;
    this.options = options;
    this.scanPart = scanPart;
  }

  add(part: Part, ...draft: Draft): void {
    this.report.add(part.where, draft);
  }

  /** Reads a part's bytes. */
  read(part: Part, offset: number, length: number): Promise<Uint8Array> {
    return readExactly(part.source, offset, length, this.options);
  }

  /** Bytes that may still be unpacked, salvaged, or taken out of pickles. */
  get remaining(): number {
    return this.#remaining;
  }

  /** Takes bytes off the budget; false, with a finding, if there are not so many. */
  spend(part: Part, bytes: number): boolean {
    if (bytes <= this.#remaining) {
      this.#remaining -= bytes;
      return true;
    }
    this.add(
      part,
      "limit",
      `holds more packed or nested data than the ${MAX_NESTED_BYTES} bytes that are looked into`,
    );
    return false;
  }

  /** Scans a part that lies deeper than `outer`; not if that is too deep. */
  async enter(outer: Part, inner: Part): Promise<void> {
    if (this.mayEnter(outer, inner)) await this.scanPart(this, inner);
  }

  /** Whether a part is not too deep; false makes a finding. */
  mayEnter(outer: Part, inner: Part): boolean {
    if (inner.archives > MAX_NESTED_ARCHIVES)
      this.add(outer, "limit", `holds archives in archives, deeper than ${MAX_NESTED_ARCHIVES}`);
    else if (inner.pickles > MAX_NESTED_PICKLES)
      this.add(outer, "limit", `holds pickles in pickles, deeper than ${MAX_NESTED_PICKLES}`);
    else return true;
    return false;
  }
}

/** A member of an archive whose bytes lie in it as they are. */
export function windowOf(part: Part, name: string, offset: number, size: number): Part {
  const { source, where } = part;
  const base = where.base === undefined ? undefined : where.base + offset;
  return {
    source: sourceWindow(source, offset, size),
    where: { member: [...where.member, name], base },
    archives: part.archives + 1,
    pickles: part.pickles,
  };
}

/** A member of an archive that was unpacked. */
export function unpacked(part: Part, name: string, bytes: Uint8Array): Part {
  return {
    source: fromBytes(bytes),
    where: { member: [...part.where.member, name], base: undefined },
    archives: part.archives + 1,
    pickles: part.pickles,
  };
}

/** A range of a source as a source. */
function sourceWindow(source: ByteSource, start: number, size: number): ByteSource {
  const window: ByteSource = {
    size,
    name: source.name,
    cost: source.cost,
    async read(offset, length, options) {
      checkRange(window, offset, length);
      return readExactly(source, start + offset, length, options);
    },
  };
  return window;
}

/** The finding for an error in a part, if it speaks of its content; errors of reading are thrown on. */
export function draftOf(error: unknown): Draft {
  if (!(error instanceof SafetensorsError)) throw error;
  const { code, details, reason } = error;
  if (code === "LIMIT_EXCEEDED") return ["limit", reason, { at: details.at }];
  if (code === "UNSUPPORTED") return ["not-understood", reason, { at: details.at }];
  if (code === "INVALID_ARCHIVE") return ["ambiguous-archive", reason, { at: details.at }];
  if (["IO", "SHORT_READ", "SOURCE_CHANGED", "NOT_FOUND", "CLOSED", "OUT_OF_RANGE"].includes(code))
    throw error;
  return ["malformed-file", reason, { at: details.at }];
}
