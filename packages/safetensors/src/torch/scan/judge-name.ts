import { quote } from "../../errors.ts";
import type { KnownGlobal } from "../globals.ts";
import type { FindingCode } from "./finding.ts";

/** What is wrong with a name by itself; nothing for those that somebody vouches for. */
export function judgeName(
  { path, role, reason }: KnownGlobal,
  called: boolean,
): readonly [code: FindingCode, message: string] | undefined {
  const judged = role === "forbidden" ? reason : role === "unknown" ? "nobody vouches for" : undefined;
  if (judged === undefined) return undefined;
  const code = role === "forbidden" ? "forbidden-global" : "unknown-global";
  return [code, `names ${quote(path)}, which ${judged}${called ? ", and calls it" : ""}`];
}

/** Whether a name looks as a Python name does, and not as any line of text. */
export function isPlainName(path: string): boolean {
  return /^[\w.]+$/.test(path);
}
