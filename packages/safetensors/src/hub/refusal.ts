import { type ErrorCode, quote, SafetensorsError } from "../errors.ts";
import type { HubAddress } from "./address.ts";

/** What a request was about, for messages. */
export interface HubSubject {
  readonly address: HubAddress;
  /** The repository's page, for people. */
  readonly page: string;
}

/** Passing failures (tried again by whoever asked) and 416, which is an answer about a range. */
const NOT_REFUSALS: ReadonlySet<number> = new Set([408, 416, 429]);

const TOKEN_ADVICE = "pass a token (on the command line: HF_TOKEN)";

/**
 * The error for a request that the Hub refuses for good, from its headers `X-Error-Code` and `X-Error-Message`; nothing
 * for other answers.
 *
 * @param token what was sent: a server that repeats it must not bring it into a message
 */
export function explainRefusal(
  { status, headers }: Response,
  subject: HubSubject,
  token: string | undefined,
): SafetensorsError | undefined {
  if (status < 400 || status >= 500 || NOT_REFUSALS.has(status)) return undefined;
  const said = headers.get("x-error-message") ?? "";
  const [code, text] = describe(status, headers.get("x-error-code"), said, subject);
  const shown = token === undefined ? said : said.replaceAll(token, "…");
  return new SafetensorsError(code, shown === "" ? text : `${text}; the Hub says ${quote(shown)}`);
}

function describe(
  status: number,
  code: string | null,
  said: string,
  { address, page }: HubSubject,
): [ErrorCode, string] {
  const { type, repo, path } = address;
  const revision = quote(address.revision ?? "main");
  if (code === "GatedRepo") {
    const advice = `accept its terms at ${page}, then ${TOKEN_ADVICE} of the account that did`;
    return ["IO", `access to the ${type} ${repo} is restricted: ${advice}`];
  }
  if (code === "RevisionNotFound") return ["NOT_FOUND", `the ${type} ${repo} has no revision ${revision}`];
  if (code === "EntryNotFound") {
    return ["NOT_FOUND", `the ${type} ${repo} has no ${quote(path)} in revision ${revision}`];
  }
  if (/^invalid credentials/i.test(said)) return ["IO", "the Hub does not accept the token"];
  // The Hub answers 401 for what does not exist too, so as not to give away what does.
  if (code === "RepoNotFound" || status === 401) {
    return ["NOT_FOUND", `there is no ${type} ${repo}, or it is private: for a private one, ${TOKEN_ADVICE}`];
  }
  if (status === 404 || status === 410) {
    const what = path === "" ? `revision ${revision}` : `${quote(path)} in revision ${revision}`;
    return ["NOT_FOUND", `the Hub finds no ${type} ${repo} with ${what}`];
  }
  const advice = status === 403 ? ": the token may not have the right to read it" : "";
  return ["IO", `the Hub refuses the ${type} ${repo} (status ${status})${advice}`];
}

/** Advice for a failure that is left after all tries, where there is any. */
export function adviseOnLimit(error: unknown): unknown {
  if (!(error instanceof SafetensorsError && /answered with status 429\b/.test(error.message))) return error;
  const advice = `the Hub limits the number of requests: wait some minutes, or ${TOKEN_ADVICE}, which may ask more often`;
  return new SafetensorsError(error.code, `${error.reason}; ${advice}`, error.details);
}
