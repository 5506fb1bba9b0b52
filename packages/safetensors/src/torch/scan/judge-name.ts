import { quote } from "../../errors.ts";
import { isScriptClass, type KnownGlobal } from "../globals.ts";
import type { FindingCode } from "./finding.ts";

/**
 * What is wrong with a name by itself; nothing for those that somebody vouches for. For the classes of TorchScript that is
 * their archive, which is not looked at here.
 */
export function judgeName(
  { path, role, reason }: KnownGlobal,
  called: boolean,
): readonly [code: FindingCode, message: string] | undefined {
  const isUnknown = role === "unknown" || isScriptClass(path);
  const judged = role === "forbidden" ? reason : isUnknown ? "nobody vouches for" : undefined;
  if (judged === undefined) return undefined;
  const code = role === "forbidden" ? "forbidden-global" : "unknown-global";
  return [code, `names ${quote(path)}, which ${judged}${called ? ", and calls it" : ""}`];
}

/** Whether a name looks as one that can be imported, and not as any line of text: files of modules may have a hyphen. */
export function isPlainName(path: string): boolean {
  return /^[\p{L}\p{M}\p{N}_.-]+$/u.test(path);
}
