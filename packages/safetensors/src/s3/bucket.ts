import { SafetensorsError } from "../errors.ts";
import { bucketAddress, encodeKey, isRegion } from "./address.ts";
import { Keyring } from "./keyring.ts";
import type { S3StoreOptions } from "./options.ts";
import { type Problem, problemError, readProblem, regionOf } from "./problem.ts";
import type { Signer } from "./signer.ts";

/** What AWS takes requests without a region for, and what most other servers call theirs. */
const REGION = "us-east-1";

/**
 * One bucket, with a `fetch` that signs what goes to it. What it learns, the region and newer credentials, holds for all
 * later requests.
 */
export class Bucket {
  /** Where requests are sent to. Keys, encoded, and queries stand behind it. */
  readonly address: string;
  /**
   * For `openUrl` and its like: takes addresses that begin with `address`, signs the request, and turns a refusal into
   * an error that says what to do. Requests for any other address, where a redirect led to, go without a signature.
   *
   * What may pass (status 408, 429, 500 and above) and redirects are answers like any other.
   */
  readonly fetch: typeof fetch;
  readonly #name: string;
  readonly #options: S3StoreOptions;
  readonly #keyring: Keyring;
  #region: string;

  /** @throws `IO` for options that cannot be used */
  constructor(name: string, options: S3StoreOptions) {
    const region = options.region || REGION;
    if (!isRegion(region)) throw new SafetensorsError("IO", "region is no name of a region");
    this.#name = name;
    this.#options = options;
    this.#keyring = new Keyring(options.credentials);
    this.#region = region;
    this.address = bucketAddress(name, region, options);
    this.fetch = (url, init = {}) => this.#fetch(String(url), init);
  }

  /** @throws `UNSUPPORTED` or `IO` for keys that cannot be asked for */
  addressOf(key: string): string {
    return this.address + encodeKey(key);
  }

  async #fetch(url: string, init: RequestInit): Promise<Response> {
    // Browsers refuse to run `fetch` as the method of something else.
    const send = this.#options.fetch ?? fetch;
    const rest = this.#withinBucket(url);
    if (rest === undefined) return send(url, init);
    for (let moved = false, renewed = false; ; ) {
      const region = this.#region;
      const signer = await unlessAborted(this.#keyring.signer(), init.signal);
      const address = bucketAddress(this.#name, region, this.#options) + rest;
      const response = await send(address, signer ? await sign(address, init, signer, region) : init);
      if (isAnswer(response, signer, region)) return response;
      const problem = await readProblem(response);
      if (response.status === 416) return refusedRange(response, problem, init);
      if (!moved && isElsewhere(problem, region)) {
        moved = true;
        this.#region = problem.region;
      } else if (!renewed && signer && problem.code === "ExpiredToken" && this.#keyring.forget(signer)) {
        renewed = true;
      } else {
        const { origin, pathname } = new URL(address);
        const message = problem.message && (signer?.redact(problem.message) ?? problem.message);
        throw problemError(origin + pathname, problem, message, signer !== undefined);
      }
    }
  }

  /** What stands behind the address of the bucket: the one that it had at first, or has now. */
  #withinBucket(url: string): string | undefined {
    const addresses = [this.address, bucketAddress(this.#name, this.#region, this.#options)];
    const address = addresses.find((address) => url.startsWith(address));
    return address && url.slice(address.length);
  }
}

/** The same request with a signature. It must not be redirected: the session token would go along. */
async function sign(
  address: string,
  init: RequestInit,
  signer: Signer,
  region: string,
): Promise<RequestInit> {
  const headers = new Headers(init.headers);
  for (const [name, value] of await signer.headers(address, region)) headers.set(name, value);
  return { ...init, headers, redirect: "manual" };
}

/** Whether a response needs no explanation, or leads to another place that is not another region. */
function isAnswer(response: Response, signer: Signer | undefined, region: string): boolean {
  const { status, headers, type } = response;
  if (type === "opaqueredirect" && signer) {
    const text = "the bucket is elsewhere, and a browser does not say where: give its region or endpoint";
    throw new SafetensorsError("IO", text);
  }
  if (status < 300 || status === 408 || status === 429 || status >= 500) return true;
  return status < 400 && headers.has("location") && (regionOf(response) ?? region) === region;
}

/** Whether a server says that another region has the bucket. */
function isElsewhere(problem: Problem, region: string): problem is Problem & { readonly region: string } {
  return problem.status <= 400 && problem.region !== undefined && problem.region !== region;
}

/**
 * Adds how long the object is to a refused range: AWS says it only in the body, and others not at all. The first bytes are
 * refused of nothing but an empty object.
 */
function refusedRange({ status, headers }: Response, { code, size }: Problem, init: RequestInit): Response {
  const known = new Headers(headers);
  const isFirst = new Headers(init.headers).get("range")?.startsWith("bytes=0-");
  const total = size ?? (code === "InvalidRange" && isFirst ? "0" : undefined);
  if (total !== undefined && !known.has("content-range")) known.set("content-range", `bytes */${total}`);
  return new Response(null, { status, headers: known });
}

/** Ends a wait with the signal. What is waited for goes on: others may wait for it too. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | null | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject);
  });
}
