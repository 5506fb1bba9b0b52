import { quote, SafetensorsError } from "../errors.ts";

/** What kind of repository an address names. */
export type HubRepoType = "model" | "dataset" | "space";

/** A place on the Hugging Face Hub, as `parseHubAddress` reads it. */
export interface HubAddress {
  readonly type: HubRepoType;
  /** `organisation/name`; a bare `name` for the few old models that have no organisation. */
  readonly repo: string;
  /** Branch, tag, commit or reference such as `refs/pr/1`; the Hub's default, `main`, when there is none. */
  readonly revision: string | undefined;
  /** File or folder in the repository, without slashes at its ends; empty for the repository itself. */
  readonly path: string;
}

const SCHEME = "hf://";
const FORM = "expected hf://organisation/model@revision/path";

const TYPES: ReadonlyMap<string, HubRepoType> = new Map([
  ["models", "model"],
  ["datasets", "dataset"],
  ["spaces", "space"],
]);

/** Begin an address or a page of the Hub with another meaning, so no organisation is called so. */
const RESERVED: ReadonlySet<string> = new Set([...TYPES.keys(), ...TYPES.values(), "buckets", "kernels"]);

/** Revisions with slashes that addresses may write as they are. */
const SPECIAL_REVISION = /^refs\/(?:pr\/\d+|convert\/[\w.-]+)(?=\/|$)/;

/** One part of `organisation/name`, by the rules of huggingface_hub's `validate_repo_id`. */
const REPO_NAME = /^\w(?:[\w.-]{0,94}\w)?$/;

/** What git allows in no name of a reference (git-check-ref-format). */
const NOT_IN_REVISIONS =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  /[\u0000-\u0020\u007f~^:?*[\\]|\.\.|@\{|\/\/|\/\.|^[-./]|[./]$|\.lock(?:\/|$)/;

/** The other separator of paths, and characters that steer a terminal or the direction of text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const NOT_IN_PATHS = /[\\\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/;

/**
 * Reads an address of the Hugging Face Hub, with the grammar of huggingface_hub's "HF URIs":
 * `hf://[models/|datasets/|spaces/]organisation/name[@revision][/path]`. Slashes in a revision are written `%2F`, but
 * for `refs/pr/…` and `refs/convert/…`; a path stands as it is. Models without an organisation are understood where
 * nothing else can be meant: `hf://gpt2`, `hf://gpt2@main/model.safetensors`.
 *
 * @throws `IO` for what is no such address; `UNSUPPORTED` for buckets and kernels
 */
export function parseHubAddress(address: string): HubAddress {
  const fail = (problem: string): SafetensorsError =>
    new SafetensorsError("IO", `${quote(address)} is no address of the Hub: ${problem}; ${FORM}`);
  if (!address.startsWith(SCHEME)) {
    // It is not repeated: addresses of other kinds may hold a secret.
    throw new SafetensorsError("IO", `an address of the Hub begins with ${SCHEME}: ${FORM}`);
  }
  if (!address.isWellFormed()) throw fail("it is not valid Unicode");

  // One slash at the end is how people write folders.
  const body = address.slice(SCHEME.length).replace(/\/$/, "");
  if (body.endsWith("/")) throw fail("its path has an empty part");
  const { type, location } = splitType(body, fail);
  const { repo, tail, path } = splitRepo(location);
  checkRepo(repo, fail);
  if (tail === undefined) return { type, repo, revision: undefined, path: checkPath(path, fail) };

  const special = SPECIAL_REVISION.exec(tail)?.[0];
  const written = special ?? tail.split("/", 1)[0]!;
  if (written === "refs") throw fail('slashes in a revision are written "%2F"');
  const rest = tail.slice(written.length + 1);
  return { type, repo, revision: decodeRevision(written, fail), path: checkPath(rest, fail) };
}

/** The address as text, so that `parseHubAddress` reads the same from it. */
export function formatHubAddress({ type, repo, revision, path }: HubAddress): string {
  const written =
    revision === undefined || SPECIAL_REVISION.exec(revision)?.[0] === revision
      ? revision
      : encodeURIComponent(revision);
  const prefix = type === "model" ? "" : `${type}s/`;
  return `${SCHEME}${prefix}${repo}${written === undefined ? "" : `@${written}`}${path && `/${path}`}`;
}

type Fail = (problem: string) => SafetensorsError;

function splitType(body: string, fail: Fail): { readonly type: HubRepoType; readonly location: string } {
  const first = body.split("/", 1)[0]!;
  if (first === "buckets" || first === "kernels") {
    const text = `${quote(SCHEME + body)} names one of the Hub's ${first}; only models, datasets and spaces are read`;
    throw new SafetensorsError("UNSUPPORTED", text, { kind: `hub-${first}` });
  }
  for (const [plural, type] of TYPES) {
    if (first === type) throw fail(`write "${plural}/" for "${type}/"`);
    if (first === plural) return { type, location: body.slice(plural.length + 1) };
  }
  return { type: "model", location: body };
}

/** Splits off the repository; `tail` is what follows an "@" in it. One further back is part of a file's name. */
function splitRepo(location: string): {
  readonly repo: string;
  readonly tail: string | undefined;
  readonly path: string;
} {
  const [, repo, tail] = /^([^/@]*(?:\/[^/@]*)?)@(.*)$/s.exec(location) ?? [];
  if (repo !== undefined) return { repo, tail, path: "" };
  const [organisation, name, ...path] = location.split("/");
  return {
    repo: name === undefined ? organisation! : `${organisation}/${name}`,
    tail: undefined,
    path: path.join("/"),
  };
}

function checkRepo(repo: string, fail: Fail): void {
  if (repo === "" || RESERVED.has(repo.split("/", 1)[0]!)) throw fail("it names no repository");
  const valid = repo.split("/").every((part) => REPO_NAME.test(part) && !/--|\.\./.test(part));
  if (!valid || repo.endsWith(".git")) throw fail(`${quote(repo)} is no name of a repository`);
}

function decodeRevision(written: string, fail: Fail): string {
  let revision = "";
  try {
    revision = decodeURIComponent(written);
  } catch {}
  if (revision === "" || NOT_IN_REVISIONS.test(revision)) throw fail(`${quote(written)} is no revision`);
  return revision;
}

function checkPath(path: string, fail: Fail): string {
  if (path === "") return path;
  for (const part of path.split("/")) {
    if (part === "") throw fail("its path has an empty part");
    if (part === "." || part === ".." || NOT_IN_PATHS.test(part)) {
      throw fail(`${quote(part)} cannot be part of a path`);
    }
  }
  return path;
}
