import type { Traffic } from "../../source/observed.ts";
import type { GlobalRole, KnownGlobal } from "../globals.ts";
import { MAX_FINDINGS, MAX_LISTED_GLOBALS, MAX_LISTED_MEMBERS } from "../limits.ts";
import { FINDINGS, type Finding, type FindingCode, type Severity, type Verdict } from "./finding.ts";

/** A name that the pickles of a file ask Python to import. */
export interface ScannedGlobal {
  /** In the spelling of today's Python. */
  readonly name: string;
  readonly role: GlobalRole;
  /** Whether it is called. */
  readonly called: boolean;
  /** Where it is named: members as in findings, joined by " > "; "" is the file itself. */
  readonly members: readonly string[];
  /** Number of pickles that name it. */
  readonly count: number;
}

/** What a scan of a file found. */
export interface ScanReport {
  /** The file, as its source is called. */
  readonly file: string;
  readonly verdict: Verdict;
  /** The findings in the order in which they were made; the first `MAX_FINDINGS` if there are more. */
  readonly findings: readonly Finding[];
  /** Number of findings in all. */
  readonly findingCount: number;
  readonly globals: readonly ScannedGlobal[];
  /** The pickles, archives and configurations that were looked into, members as in `ScannedGlobal`. */
  readonly scanned: readonly string[];
  /** What was read of the file. */
  readonly traffic: Traffic;
}

/** Where in a file something is. */
export interface Where {
  readonly member: readonly string[];
  /** Offset of its first byte in the file, if its bytes lie there as they are. */
  readonly base: number | undefined;
}

/** What can be said of a finding besides its code. */
export interface FindingDetails {
  readonly at?: number | undefined;
  readonly opcode?: string | undefined;
  readonly global?: string | undefined;
}

/** A finding that is not in the report yet. */
export type Draft = readonly [code: FindingCode, message: string, details?: FindingDetails | undefined];

/** A member as one text. */
export function memberText(member: readonly string[]): string {
  return member.join(" > ");
}

/** Collects what is found in a file. However much that is, the report stays small and its verdict stands. */
export class ReportBuilder {
  readonly #file: string;
  readonly #traffic: Traffic;
  readonly #findings: Finding[] = [];
  readonly #globals = new Map<
    string,
    { -readonly [K in keyof ScannedGlobal]: ScannedGlobal[K] } & { members: string[] }
  >();
  readonly #scanned = new Set<string>();
  readonly #seen = new Set<string>();
  #findingCount = 0;
  /** Listed findings that are not dangerous. */
  #harmless = 0;
  #worst: Severity = "note";

  constructor(file: string, traffic: Traffic) {
    this.#file = file;
    this.#traffic = traffic;
  }

  add(where: Where, [code, message, details = {}]: Draft): void {
    const severity: Severity = FINDINGS[code][0];
    if (severity === "dangerous" || this.#worst === "note") this.#worst = severity;
    const { at, opcode, global } = details;
    const key = JSON.stringify([code, where.member, at, global, message]);
    if (this.#seen.has(key)) return;
    this.#findingCount++;
    if (this.#findings.length >= MAX_FINDINGS && !this.#makeRoom(severity)) return;
    this.#seen.add(key);
    if (severity !== "dangerous") this.#harmless++;
    this.#findings.push({
      code,
      severity,
      message,
      file: this.#file,
      member: where.member.map((name) => (name.length > 200 ? `${name.slice(0, 200)}…` : name)),
      ...(at !== undefined && { at }),
      ...(at !== undefined && where.base !== undefined && { fileOffset: where.base + at }),
      ...(opcode !== undefined && { opcode }),
      ...(global !== undefined && { global }),
    });
  }

  /** Drops a finding for one that is dangerous: many others must not hide it. */
  #makeRoom(severity: Severity): boolean {
    if (severity !== "dangerous" || this.#harmless === 0) return false;
    this.#findings.splice(
      this.#findings.findLastIndex((finding) => finding.severity !== "dangerous"),
      1,
    );
    this.#harmless--;
    return true;
  }

  addGlobal(where: Where, { path, role }: KnownGlobal, called: boolean): void {
    const member = memberText(where.member);
    const known = this.#globals.get(path);
    if (!known) {
      if (this.#globals.size < MAX_LISTED_GLOBALS)
        this.#globals.set(path, { name: path, role, called, members: [member], count: 1 });
      return;
    }
    known.called ||= called;
    known.count++;
    if (known.members.length < 100 && known.members.at(-1) !== member) known.members.push(member);
  }

  addScanned(where: Where): void {
    if (this.#scanned.size < MAX_LISTED_MEMBERS) this.#scanned.add(memberText(where.member));
  }

  build(): ScanReport {
    return {
      file: this.#file,
      verdict: this.#worst === "note" ? "clean" : this.#worst,
      findings: this.#findings,
      findingCount: this.#findingCount,
      globals: [...this.#globals.values()],
      scanned: [...this.#scanned],
      traffic: this.#traffic,
    };
  }
}
