import { quote, SafetensorsError } from "../errors.ts";
import { Interruption } from "./backoff.ts";
import type { Attempt } from "./http-attempt.ts";
import { retryAfter } from "./http-range.ts";

/** Where to send requests. */
interface Place {
  readonly url: URL;
  /** Whether redirects have not left the user's server yet: only there may the user's headers go. */
  readonly own: boolean;
}

const MOST_REDIRECTS = 10;

/**
 * Sends GET requests for one URL. It follows redirects itself, so that the user's headers never reach another server, and
 * remembers where they led until that place refuses: signed addresses expire.
 */
export class HttpRequester {
  /** What to call the file in messages: its address without the query, which may hold a signature. */
  readonly name: string;
  readonly #start: Place;
  readonly #headers: Headers;
  readonly #fetch: typeof fetch;
  /** Where the redirects led the last time, if there were any. */
  #found: Place | undefined;

  /** @throws `IO` for an address or a header that cannot be sent */
  constructor(url: string, headers: Readonly<Record<string, string>> = {}, fetcher: typeof fetch = fetch) {
    this.#start = { url: parseUrl(url), own: true };
    this.name = this.#start.url.origin + this.#start.url.pathname;
    this.#headers = parseHeaders(headers);
    this.#fetch = fetcher;
  }

  /**
   * Asks for the bytes from `start` to `end`; the answer has status 200, 206 or 416.
   *
   * @throws `Interruption` for what may pass; `NOT_FOUND`; `IO`
   */
  async get(start: number, end: number, attempt: Attempt): Promise<Response> {
    const range = `bytes=${start}-${end - 1}`;
    const found = this.#found;
    try {
      return await this.#ask(found ?? this.#start, range, attempt);
    } catch (error) {
      if (!(error instanceof SafetensorsError || error instanceof Interruption)) throw error;
      this.#found = undefined;
      if (!found || error instanceof Interruption) throw error;
      return await this.#ask(this.#start, range, attempt);
    }
  }

  async #ask(from: Place, range: string, attempt: Attempt): Promise<Response> {
    const { response, place } = await this.#follow(from, range, attempt);
    const { status, headers } = response;
    if (status === 200 || status === 206 || status === 416) {
      this.#found = place === this.#start ? undefined : place;
      return response;
    }
    const text = `${this.name} answered with status ${status}`;
    if (status === 404 || status === 410) throw new SafetensorsError("NOT_FOUND", `${text}: no such file`);
    const isRefused = status === 401 || status === 403;
    const failure = isRefused
      ? new SafetensorsError("IO", `${text}: access is refused`, { kind: "refused" })
      : new SafetensorsError("IO", text);
    const passing = status === 408 || status === 429 || status >= 500;
    throw passing ? new Interruption(failure, retryAfter(headers, Date.now())) : failure;
  }

  async #follow(
    from: Place,
    range: string,
    attempt: Attempt,
  ): Promise<{ readonly response: Response; readonly place: Place }> {
    let place = from;
    for (let hops = 0; hops <= MOST_REDIRECTS; hops++) {
      const response = await this.#send(place, this.#headersFor(place), range, "manual", attempt);
      if (response.type === "opaqueredirect") return this.#followHidden(place, range, attempt);
      const target = response.headers.get("location");
      if (response.status < 300 || response.status > 399 || target === null) return { response, place };
      place = this.#redirected(place, asUtf8(target));
    }
    throw new SafetensorsError("IO", `${this.name} redirects more than ${MOST_REDIRECTS} times`);
  }

  /**
   * A browser does not show redirects but only follows them. Of the user's headers it takes Authorization off on the way
   * to another server (Fetch standard, HTTP-redirect fetch), so no other may go along.
   */
  async #followHidden(
    from: Place,
    range: string,
    attempt: Attempt,
  ): Promise<{ readonly response: Response; readonly place: Place }> {
    const authorization = this.#headersFor(from).get("authorization");
    const headers = new Headers(authorization === null ? {} : { authorization });
    const response = await this.#send(from, headers, range, "follow", attempt);
    return { response, place: this.#redirected(from, response.url) };
  }

  async #send(
    { url }: Place,
    headers: Headers,
    range: string,
    redirect: "manual" | "follow",
    attempt: Attempt,
  ): Promise<Response> {
    headers.set("range", range);
    // Bun would ask for compressed parts. The others do this by themselves: browsers let nobody set it, Node says it twice.
    headers.set("accept-encoding", "identity");
    // Chrome once answered a request for a whole file with a cached part of it, so parts stay out of the cache.
    const request = { headers, redirect, cache: "no-store", signal: attempt.signal } as const;
    // Browsers refuse to run `fetch` as the method of something else.
    const send = this.#fetch;
    attempt.sending();
    try {
      const response = await send(url.href, request);
      attempt.alive();
      return response;
    } catch (error) {
      // A caller's `fetch` may know what is wrong; trying again would not help.
      if (error instanceof SafetensorsError) throw error;
      throw attempt.interrupted("cannot be reached", error);
    }
  }

  #headersFor({ own }: Place): Headers {
    return new Headers(own ? this.#headers : undefined);
  }

  #redirected({ url, own }: Place, target: string): Place {
    const next = URL.canParse(target, url.href) ? new URL(target, url) : undefined;
    if (next && isAddress(next) && (next.protocol === "https:" || url.protocol === "http:")) {
      return { url: next, own: own && next.origin === url.origin };
    }
    const where = next ? quote(next.protocol) : "no address";
    throw new SafetensorsError("IO", `${this.name} redirects to ${where}, which is not followed`);
  }
}

/** `fetch` takes no names and passwords in addresses. */
function isAddress({ protocol, username, password }: URL): boolean {
  return (protocol === "https:" || protocol === "http:") && username === "" && password === "";
}

/** An address, in browsers also one relative to the page. The message does not repeat it: it may hold a secret. */
export function parseUrl(text: string): URL {
  try {
    const url = new URL(new Request(text).url);
    if (isAddress(url)) return url;
  } catch {}
  throw new SafetensorsError(
    "IO",
    "this is no http or https address, or one with a name and a password in it",
  );
}

/**
 * The address in a Location header. Some servers write it in UTF-8, unescaped; `fetch` gives a character for each byte,
 * and takes them for UTF-8 itself where it follows.
 */
function asUtf8(location: string): string {
  if (/[\u0100-\uffff]/.test(location)) return location;
  const bytes = Uint8Array.from(location, (character) => character.charCodeAt(0));
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return location;
  }
}

function parseHeaders(record: Readonly<Record<string, string>>): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(record)) {
    try {
      headers.set(name, value);
    } catch {
      // What the runtime says of it repeats the value, which may be a secret.
      throw new SafetensorsError("IO", `the header ${quote(name)} has a value that cannot be sent`);
    }
  }
  return headers;
}
