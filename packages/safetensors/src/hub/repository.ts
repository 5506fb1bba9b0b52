import { SafetensorsError } from "../errors.ts";
import type { UrlOptions } from "../source/http.ts";
import type { HubAddress } from "./address.ts";
import { cleanToken, type HubOptions } from "./options.ts";
import { adviseOnLimit, explainRefusal } from "./refusal.ts";

const ENDPOINT = "https://huggingface.co";

/** One repository of a Hub: where its files are, and how to ask for them. */
export class HubRepository {
  readonly address: HubAddress;
  /** For `HttpRequester`: it decides by them which requests may carry the token, `fetch` fills it in. */
  readonly headers: Readonly<Record<string, string>>;
  readonly #base: string;
  readonly #options: HubOptions;

  /** @throws `IO` for an endpoint that is no address */
  constructor(address: HubAddress, options: HubOptions) {
    this.address = address;
    this.#base = parseEndpoint(options.endpoint ?? ENDPOINT);
    this.#options = options;
    this.headers = options.token === undefined ? {} : { authorization: "Bearer" };
  }

  /** The page of the repository, for people. */
  get page(): string {
    const { type, repo } = this.address;
    return `${this.#base}/${type === "model" ? "" : `${type}s/`}${repo}`;
  }

  /** Where a file is at a revision. */
  fileUrl(revision: string, path: string): string {
    return new URL(`${this.page}/resolve/${encodeURIComponent(revision)}/${encodePath(path)}`).href;
  }

  /** Where the Hub tells what the repository has: `route` is "revision" or "tree". */
  apiUrl(route: string, revision: string, path = ""): string {
    const { type, repo } = this.address;
    const tail = path === "" ? "" : `/${encodePath(path)}`;
    return `${this.#base}/api/${type}s/${repo}/${route}/${encodeURIComponent(revision)}${tail}`;
  }

  /** Whether an answer came from the Hub itself, not from a server that it redirects to. */
  isOwn(response: Response, asked: string): boolean {
    return new URL(response.url || asked).origin === new URL(this.#base).origin;
  }

  /**
   * `fetch` for this repository: it sends the token where `headers` lets it go, and turns what the Hub refuses into an
   * error that says what to do.
   *
   * @param path what the requests are about, for messages
   */
  fetchFor(path: string): (url: string, init: RequestInit) => Promise<Response> {
    const subject = { address: { ...this.address, path }, page: this.page };
    const send = this.#options.fetch ?? fetch;
    return async (url, init) => {
      const headers = new Headers(init.headers);
      const token = headers.has("authorization") ? await this.#token() : undefined;
      if (token === undefined) headers.delete("authorization");
      else headers.set("authorization", `Bearer ${token}`);
      const response = await send(url, { ...init, headers });
      if (!this.isOwn(response, url)) return response;
      const refusal = explainRefusal(response, subject, token);
      if (refusal) throw refusal;
      return response.status === 429 ? withRetryAfter(response) : response;
    };
  }

  /** Options for `openUrl`: the user's, with these headers and this `fetch`. */
  urlOptions(send: (url: string, init: RequestInit) => Promise<Response>): UrlOptions {
    const { token: _, endpoint: __, ...options } = this.#options;
    return { ...options, headers: this.headers, fetch: send as typeof fetch };
  }

  async #token(): Promise<string | undefined> {
    const { token } = this.#options;
    const text = cleanToken(typeof token === "function" ? await askFor(token) : token);
    // What a runtime says of a header that it cannot send repeats it.
    if (text === undefined || /^[\x21-\x7e]+$/.test(text)) return text;
    throw new SafetensorsError("IO", "the token for the Hub has characters that no token has");
  }
}

/** Runs `action`, adding advice to what it throws where there is any. */
export async function advised<T>(action: Promise<T>): Promise<T> {
  try {
    return await action;
  } catch (error) {
    throw adviseOnLimit(error);
  }
}

async function askFor(
  token: () => string | undefined | Promise<string | undefined>,
): Promise<string | undefined> {
  try {
    return await token();
  } catch (cause) {
    throw new SafetensorsError("IO", "the function that gives the token for the Hub failed", { cause });
  }
}

/** Without the slash at its end. The message does not repeat it: it may hold a secret. */
function parseEndpoint(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain =
    url && /^https?:$/.test(url.protocol) && !(url.username || url.password || url.search || url.hash);
  if (isPlain) return url.origin + url.pathname.replace(/\/+$/, "");
  throw new SafetensorsError("IO", "the endpoint of the Hub is no plain http or https address");
}

function encodePath(path: string): string {
  return path.toWellFormed().split("/").map(encodeURIComponent).join("/");
}

/**
 * The Hub says in `RateLimit` (IETF draft-ietf-httpapi-ratelimit-headers) when its window ends, and not always in
 * Retry-After, which is what a requester waits for.
 */
function withRetryAfter(response: Response): Response {
  const [, seconds] = /;\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d+)/.exec(response.headers.get("ratelimit") ?? "") ?? [];
  if (seconds === undefined || response.headers.has("retry-after")) return response;
  return new Response(null, { status: 429, headers: { "retry-after": seconds } });
}
