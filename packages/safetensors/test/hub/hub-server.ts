import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after } from "node:test";

/** Commits of the played repositories. */
export const FIRST: string = "1".repeat(40);
export const SECOND: string = "2".repeat(40);

/** A repository of the played Hub. Tests change it. */
export interface PlayedRepository {
  /** `/org/name`, `/datasets/org/name`. */
  readonly page: string;
  access: "public" | "gated" | "private";
  /** Branches and other names of commits, written as they are. */
  readonly revisions: Map<string, string>;
  /** The files of each commit, by path. */
  readonly commits: Map<string, Map<string, Uint8Array>>;
}

/** One request, as a line such as `hub /org/model/resolve/main/a.safetensors 0-131071`. */
export interface SeenRequest {
  readonly line: string;
  readonly authorization: string | undefined;
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** Answers of the API that a test makes up. */
export type Answer = (response: ServerResponse, url: URL) => void;

/** JSON as the API would send it. */
export const json =
  (value: unknown, headers: Record<string, string> = {}): Answer =>
  (response) => {
    response.writeHead(200, { "content-type": "application/json", ...headers });
    response.end(typeof value === "string" ? value : JSON.stringify(value));
  };

/** A status with headers. */
export const refuse =
  (status: number, headers: Record<string, string> = {}): Answer =>
  (response) => {
    response.writeHead(status, headers);
    response.end("<html>an explanation</html>");
  };

/**
 * Plays the Hugging Face Hub, as its clients describe it: large files are on another server, at signed addresses; small
 * ones on the Hub itself, behind a relative redirect.
 */
export class PlayedHub {
  readonly repositories: PlayedRepository[] = [];
  /** Old pages, and where the repositories are now. */
  readonly renamed: Map<string, string> = new Map();
  readonly seen: SeenRequest[] = [];
  /** Answers for the next requests to the Hub, one each. */
  readonly script: Answer[] = [];
  readonly token = "hf_secretSECRETsecret";
  /** Signatures other than this one have expired. */
  signature = 1;
  /** Files on a page of a list. */
  pageLength = 1000;
  origin = "";
  /** Where large files are. */
  #files = "";
  /** What is sent for which ETag. */
  readonly #contents = new Map<string, Uint8Array>();

  static async start(): Promise<PlayedHub> {
    const hub = new PlayedHub();
    hub.origin = await listen((request, response) => hub.#answer(request, response));
    hub.#files = await listen((request, response) => hub.#answerFile(request, response));
    return hub;
  }

  /** Forgets everything, and has one public model `org/model` with these files. */
  reset(files: Readonly<Record<string, Uint8Array>>): PlayedRepository {
    for (const list of [this.repositories, this.seen, this.script]) list.length = 0;
    this.renamed.clear();
    this.signature = 1;
    this.pageLength = 1000;
    return this.add("/org/model", files);
  }

  add(page: string, files: Readonly<Record<string, Uint8Array>>): PlayedRepository {
    const repository: PlayedRepository = {
      page,
      access: "public",
      revisions: new Map([["main", FIRST]]),
      commits: new Map([[FIRST, new Map(Object.entries(files))]]),
    };
    this.repositories.push(repository);
    return repository;
  }

  /** The requests so far, without what signs them. */
  get lines(): string[] {
    return this.seen.map(({ line }) => line);
  }

  /** What was sent as Authorization to each server so far. */
  secrets(server: "hub" | "files"): (string | undefined)[] {
    return this.seen.filter(({ line }) => line.startsWith(server)).map(({ authorization }) => authorization);
  }

  #see(server: string, request: IncomingMessage): URL {
    const url = new URL(request.url!, "http://server");
    const range = request.headers.range?.replace("bytes=", " ") ?? "";
    const cursor = url.searchParams.get("cursor");
    const line = `${server} ${url.pathname}${cursor === null ? "" : `?cursor=${cursor}`}${range}`;
    this.seen.push({ line, authorization: request.headers.authorization });
    return url;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = this.#see("hub", request);
    const made = this.script.shift();
    if (made) return made(response, url);
    const cached = /^\/api\/resolve-cache(\/.*)$/.exec(url.pathname);
    const api = /^\/api\/(models|datasets|spaces)\/(.+)\/(revision|tree)\/([^/]+)(?:\/(.*))?$/.exec(
      url.pathname,
    );
    const file = cached ?? /^(.+)\/resolve\/([^/]+)\/(.*)$/.exec(url.pathname);
    if (cached) return this.#sendRange(request, response, url);
    const page = api ? `${api[1] === "models" ? "" : `/${api[1]}`}/${api[2]}` : file?.[1];
    const target = this.renamed.get(page ?? "");
    if (target !== undefined) {
      const location = request.url!.replace(page!.replace(/^\/datasets/, ""), target);
      return refuse(307, { location })(response, url);
    }
    const repository = this.repositories.find((candidate) => candidate.page === page);
    const known = request.headers.authorization === `Bearer ${this.token}`;
    if (!repository || (repository.access === "private" && !known)) {
      return refuse(401, {
        "x-error-code": "RepoNotFound",
        "x-error-message": "Invalid username or password.",
      })(response, url);
    }
    if (repository.access === "gated" && !known && file) {
      const message = "Access to model org/model is restricted. Please log in.";
      return refuse(401, { "x-error-code": "GatedRepo", "x-error-message": message })(response, url);
    }
    const revision = decodeURIComponent(api?.[4] ?? file![2]!);
    const commit = repository.revisions.get(revision) ?? revision;
    const files = repository.commits.get(commit);
    if (!files) {
      const message = `Invalid rev id: ${revision}`;
      return refuse(404, { "x-error-code": "RevisionNotFound", "x-error-message": message })(response, url);
    }
    const path = decodeURIComponent(api ? (api[5] ?? "") : file![3]!);
    if (api?.[3] === "revision") {
      const siblings = [...files.keys()].map((rfilename) => ({ rfilename }));
      return json({ id: api[2], sha: commit, siblings, cardData: { license: "mit" } })(response, url);
    }
    if (api) return this.#sendTree(response, url, files, path);
    this.#sendFile(response, url, files.get(path), commit);
  }

  #sendFile(response: ServerResponse, url: URL, bytes: Uint8Array | undefined, commit: string): void {
    if (!bytes) {
      return refuse(404, { "x-error-code": "EntryNotFound", "x-error-message": "Entry not found" })(
        response,
        url,
      );
    }
    const etag = etagOf(bytes);
    this.#contents.set(etag, bytes);
    const large = bytes.length >= 100;
    const signed = `${this.#files}/${commit}/${url.pathname.split("/").at(-1)}?Signature=${this.signature}&etag=${etag}`;
    const location = large ? signed : `/api/resolve-cache${url.pathname}?etag=${etag}`;
    const headers = { "x-repo-commit": commit, "x-linked-size": String(bytes.length), "x-linked-etag": etag };
    refuse(large ? 302 : 307, { location, ...headers })(response, url);
  }

  #sendTree(response: ServerResponse, url: URL, files: Map<string, Uint8Array>, folder: string): void {
    const start = folder === "" ? "" : `${folder}/`;
    const inside = [...files.keys()].filter((path) => path.startsWith(start)).sort();
    if (inside.length === 0) return refuse(404, { "x-error-code": "EntryNotFound" })(response, url);
    const entries = new Map<string, string>();
    for (const path of inside) {
      const [name, ...deeper] = path.slice(start.length).split("/");
      entries.set(start + name, deeper.length > 0 ? "directory" : "file");
    }
    const from = Number(url.searchParams.get("cursor") ?? 0);
    const page = [...entries]
      .slice(from, from + this.pageLength)
      .map(([path, type]) => ({ type, path, size: 1 }));
    const next = from + this.pageLength;
    // A mirror may pass on links to the Hub that it stands for.
    const link = `<https://huggingface.co${url.pathname}?cursor=${next}>; rel="next"`;
    json(page, next < entries.size ? { link } : {})(response, url);
  }

  #answerFile(request: IncomingMessage, response: ServerResponse): void {
    const url = this.#see("files", request);
    if (url.searchParams.get("Signature") !== String(this.signature)) return refuse(403)(response, url);
    this.#sendRange(request, response, url);
  }

  #sendRange(request: IncomingMessage, response: ServerResponse, url: URL): void {
    const etag = url.searchParams.get("etag")!;
    const bytes = this.#contents.get(etag)!;
    const [, first, last] = (/^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? []).map(Number);
    const end = Math.min(last! + 1, bytes.length);
    response.writeHead(206, { etag, "content-range": `bytes ${first}-${end - 1}/${bytes.length}` });
    response.end(bytes.subarray(first, end));
  }
}

function etagOf(bytes: Uint8Array): string {
  let hash = bytes.length;
  for (const byte of bytes) hash = (Math.imul(hash, 31) + byte) >>> 0;
  return `"${hash.toString(16)}"`;
}

/** Starts a server, which ends with the tests of this file. */
async function listen(handler: Handler): Promise<string> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
