import { checkShardFileName } from "../checkpoint/shard-index.ts";
import { SafetensorsError } from "../errors.ts";
import { MAX_LIST_PAGES } from "../limits.ts";
import { askHub } from "./ask.ts";
import type { HubOptions } from "./options.ts";
import type { HubRepository } from "./repository.ts";

/** What a revision is: its commit, and the paths of its files where they are known. */
export interface HubRevision {
  readonly commit: string;
  readonly files: readonly string[] | undefined;
}

/** The Hub cuts long lists of files short, and says nothing of it: so those are asked for page by page. */
const LONGEST_TRUSTED_LIST = 1000;

/** Whether this is the hash of a git commit (SHA-1, or SHA-256). */
export function isCommit(text: unknown): text is string {
  return typeof text === "string" && /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text);
}

/**
 * Asks what a revision is: one request.
 *
 * @throws `NOT_FOUND`; `IO` for what the Hub answers; `LIMIT_EXCEEDED`
 */
export async function readRevision(repository: HubRepository, options: HubOptions): Promise<HubRevision> {
  const url = repository.apiUrl("revision", repository.address.revision ?? "main");
  const { value } = await askHub(repository, url, "", options);
  const { sha, siblings } = Object(value) as { sha?: unknown; siblings?: unknown };
  if (!isCommit(sha)) throw unexpected(url, "names no commit");
  if (siblings === undefined || siblings === null) return { commit: sha, files: undefined };
  if (!Array.isArray(siblings)) throw unexpected(url, "has no list of files");
  if (siblings.length === 0 || siblings.length >= LONGEST_TRUSTED_LIST)
    return { commit: sha, files: undefined };
  return { commit: sha, files: siblings.map((entry) => textOf(entry, "rfilename", url)) };
}

/**
 * Asks for the paths of the files directly in a folder, page by page.
 *
 * @throws `NOT_FOUND` if there is no such folder; `IO` for what the Hub answers; `LIMIT_EXCEEDED`
 */
export async function readFolder(
  repository: HubRepository,
  commit: string,
  folder: string,
  options: HubOptions,
): Promise<string[]> {
  const files: string[] = [];
  const url = new URL(repository.apiUrl("tree", commit, folder));
  for (let page = 0; page < MAX_LIST_PAGES; page++) {
    const { value, headers } = await askHub(repository, url.href, folder, options);
    if (!Array.isArray(value)) throw unexpected(url.href, "is no list of files");
    for (const entry of value) {
      const path = textOf(entry, "path", url.href);
      if (textOf(entry, "type", url.href) === "file") files.push(path);
    }
    const cursor = nextCursor(headers, url);
    if (cursor === undefined) return files;
    url.searchParams.set("cursor", cursor);
  }
  throw new SafetensorsError("LIMIT_EXCEEDED", `the Hub lists files on more than ${MAX_LIST_PAGES} pages`, {
    limit: "MAX_LIST_PAGES",
  });
}

/**
 * Of the paths of files, the names of those directly in `folder`. Names that could be no file of a checkpoint, because
 * they steer paths or terminals, are left out.
 */
export function namesIn(folder: string, paths: readonly string[]): Set<string> {
  const start = folder === "" ? "" : `${folder}/`;
  const names = new Set<string>();
  for (const path of paths) {
    const name = path.slice(start.length);
    if (path.startsWith(start) && isPlainName(name)) names.add(name);
  }
  return names;
}

function isPlainName(name: string): boolean {
  try {
    checkShardFileName(name);
  } catch {
    return false;
  }
  return name.isWellFormed();
}

/** Where the list goes on (RFC 8288). Only the cursor is taken: the rest of the address is ours. */
function nextCursor(headers: Headers, url: URL): string | undefined {
  const target = /<([^<>]*)>\s*;\s*rel="?next"?/i.exec(headers.get("link") ?? "")?.[1];
  if (target === undefined) return undefined;
  const cursor = URL.canParse(target, url.href) ? new URL(target, url).searchParams.get("cursor") : null;
  if (cursor === null) throw unexpected(url.href, "has a next page without a cursor");
  return cursor;
}

function textOf(entry: unknown, key: string, url: string): string {
  const text = (Object(entry) as Record<string, unknown>)[key];
  if (typeof text !== "string") throw unexpected(url, "lists something that is no file");
  return text;
}

function unexpected(url: string, problem: string): SafetensorsError {
  const { origin, pathname } = new URL(url);
  return new SafetensorsError("IO", `the answer of ${origin}${pathname} ${problem}`);
}
