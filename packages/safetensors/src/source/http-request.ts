import { quote, SafetensorsError } from "../errors.ts";
import { Interruption } from "./backoff.ts";
import type { Attempt } from "./http-attempt.ts";
import { retryAfter } from "./http-range.ts";

/** Where to send requests. */
interface Place {
  readonly url: URL;
  /** Whether it is the user's own server, which may see the user's headers. */
  readonly own: boolean;
}

/** As many as browsers do, or fewer. */
const MOST_REDIRECTS = 10;

/**
 * Sends GET requests for one URL. It follows redirects itself, so that the user's headers never reach another server, and
 * remembers where they led until that place refuses: signed addresses expire.
 */
export class HttpRequester {
  /** What to call the file in messages: the query of an address may hold a signature. */
  readonly name: string;
  readonly #start: Place;
  readonly #headers: Headers;
  readonly #fetch: typeof fetch;
  #found: Place | undefined;

  constructor(
    url: string,
    headers: Readonly<Record<string, string>> | undefined,
    fetcher: typeof fetch | undefined,
  ) {
    this.#start = { url: parseUrl(url), own: true };
    this.name = this.#start.url.origin + this.#start.url.pathname;
    this.#headers = parseHeaders(headers);
    this.#fetch = fetcher ?? fetch;
  }

  /**
   * Asks for the bytes from `start` to `end`; the answer has status 200, 206 or 416.
   *
   * @throws `Interruption` for what may pass; `NOT_FOUND`; `IO`
   */
  async get(start: number, end: number, attempt: Attempt): Promise<Response> {
    const range = `bytes=${start}-${end - 1}`;
    const found = this.#found;
    if (found) {
      const response = await this.#follow(found, range, attempt);
      // Whatever it refuses for, the start of the redirects may know a better place.
      if (!isRefusal(response)) return response;
      this.#found = undefined;
      if (isPassing(response)) throw this.#refusal(response);
    }
    const response = await this.#follow(this.#start, range, attempt);
    if (!isRefusal(response)) return response;
    this.#found = undefined;
    throw this.#refusal(response);
  }

  /** Sends a request and follows redirects; remembers where they end. */
  async #follow(from: Place, range: string, attempt: Attempt): Promise<Response> {
    let place = from;
    try {
      for (let hops = 0; hops <= MOST_REDIRECTS; hops++) {
        let response = await this.#send(place, range, "manual", attempt);
        let target = isRedirect(response) ? response.headers.get("location") : null;
        if (response.type === "opaqueredirect") {
          response = await this.#send(place, range, "follow", attempt);
          target = null;
          place = this.#redirected(place, response.url);
        }
        if (target === null) {
          this.#found = place;
          return response;
        }
        place = this.#redirected(place, target);
      }
    } catch (error) {
      if (error instanceof Interruption) this.#found = undefined;
      throw error;
    }
    throw new SafetensorsError("IO", `${this.name} redirects more than ${MOST_REDIRECTS} times`);
  }

  async #send({ url, own }: Place, range: string, redirect: "manual" | "follow", attempt: Attempt): Promise<Response> {
    const headers = new Headers(own ? this.#headers : undefined);
    headers.set("range", range);
    // Browsers refuse to run `fetch` as a method of something else.
    const send = this.#fetch;
    try {
      // Chrome once answered a later request for the whole file with a cached part, so parts stay out of the cache.
      const response = await send(url.href, { headers, redirect, cache: "no-store", signal: attempt.signal });
      attempt.alive();
      return response;
    } catch (error) {
      throw attempt.interrupted("cannot be reached", error);
    }
  }
}
