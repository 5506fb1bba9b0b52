import { SafetensorsError } from "../errors.ts";
import { backOff, completeRetry, type Retry, type RetryOptions } from "./backoff.ts";
import { type RangeAnswer, readRangeAnswer, versionOf } from "./http-range.ts";
import { HttpRequester, Interruption, reasonOf } from "./http-request.ts";
import { checkRange } from "./range.ts";
import type { ByteSource, ReadOptions } from "./source.ts";

/** Options of `openUrl`. */
export interface UrlOptions extends ReadOptions {
  /** Sent to the host of the URL, never to another host that it redirects to. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Used instead of the global `fetch`, for example one that signs requests. */
  readonly fetch?: typeof fetch | undefined;
  readonly retry?: RetryOptions | undefined;
  /** Bytes of the first request, which also brings size and version. */
  readonly firstRead?: number | undefined;
  /** Milliseconds without a byte after which a connection counts as dropped. */
  readonly patience?: number | undefined;
}

/** Most headers are smaller; a larger one costs one more request. */
const FIRST_READ = 64 << 10;

const PATIENCE = 30_000;

/** A round trip and a fast line: it pays to read two and a half megabytes to save a request. */
const COST = { operation: 50e-3, byte: 20e-9 };

/**
 * A file on a server as a source, by range requests. The version found first is pinned: a file that changes is an
 * error, never mixed data. Requests that fail in passing are tried again, from the byte that was reached.
 *
 * @throws `NOT_FOUND`; `IO` for what the server answers; `SOURCE_CHANGED`; `UNSUPPORTED` if it serves no ranges
 */
export async function openUrl(url: string | URL, options: UrlOptions = {}): Promise<ByteSource> {
  const source = new HttpSource(String(url), options);
  await source.begin();
  return source;
}

class HttpSource implements ByteSource {
  readonly name: string;
  readonly cost: { readonly operation: number; readonly byte: number } = COST;
  readonly #options: UrlOptions;
  readonly #requester: HttpRequester;
  readonly #retry: Retry;
  #size = 0;
  #version: string | undefined;
  /** The first bytes, which came with size and version. */
  #head = new Uint8Array(0);

  constructor(url: string, options: UrlOptions) {
    // The query of an address may hold a signature, which does not belong into messages.
    this.name = url.replace(/[?#].*/s, "");
    this.#options = options;
    this.#requester = new HttpRequester(url, this.name, options.headers ?? {}, options.fetch ?? fetch);
    this.#retry = completeRetry(options.retry);
  }

  get size(): number {
    return this.#size;
  }

  /** Learns size and version, and keeps the bytes that come along. */
  async begin(): Promise<void> {
    const length = this.#options.firstRead ?? FIRST_READ;
    await this.#retrying(this.#options.signal, async (body) => {
      const response = await this.#requester.get(0, length, body.signal);
      const answer = await this.#firstAnswer(response, length);
      const head = new Uint8Array(answer.end);
      await body.fill(response, head, answer.end === answer.total || response.status === 206);
      this.#size = answer.total;
      this.#version = answer.version;
      this.#head = head;
    });
  }

  async read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    checkRange(this, offset, length);
    const target = new Uint8Array(length);
    await this.readInto(offset, target, options);
    return target;
  }

  async readInto(offset: number, target: Uint8Array, options?: ReadOptions): Promise<void> {
    checkRange(this, offset, target.length);
    options?.signal?.throwIfAborted();
    const known = this.#head.subarray(offset, offset + target.length);
    target.set(known);
    let done = known.length;
    if (done === target.length) return;
    await this.#retrying(options?.signal, async (body) => {
      const start = offset + done;
      const response = await this.#requester.get(start, offset + target.length, body.signal);
      await this.#checkAnswer(response, start, offset + target.length);
      await body.fill(response, target.subarray(done), true, (count) => {
        done += count;
      });
    });
  }

  /** The range that the first answer brings: a server that serves no ranges sends the file from its start. */
  async #firstAnswer(response: Response, length: number): Promise<RangeAnswer> {
    const { headers, status } = response;
    const version = versionOf(headers);
    // No range fits into an empty file.
    if (status === 416) return { start: 0, end: 0, total: 0, version };
    if (status === 206) return readRangeAnswer(headers, this.name, 0, length);
    const total = Number(headers.get("content-length") ?? Number.NaN);
    if (headers.get("content-encoding") === null && Number.isSafeInteger(total)) {
      return { start: 0, end: Math.min(total, length), total, version };
    }
    await response.body?.cancel();
    throw this.#noRanges();
  }

  async #checkAnswer(response: Response, start: number, end: number): Promise<void> {
    const { status, headers } = response;
    try {
      if (status === 200) throw this.#noRanges();
      if (status === 416) throw this.#changed("it has become shorter");
      const { total, version } = readRangeAnswer(headers, this.name, start, end);
      if (total !== this.#size) throw this.#changed(`it had ${this.#size} bytes, now it has ${total}`);
      if (version !== this.#version)
        throw this.#changed(`its version was ${this.#version}, now it is ${version}`);
    } catch (error) {
      await response.body?.cancel();
      throw error;
    }
  }

  #noRanges(): SafetensorsError {
    const advice = "download the file and open it from the disk";
    return new SafetensorsError("UNSUPPORTED", `${this.name} does not serve parts of the file; ${advice}`, {
      kind: "no-ranges",
    });
  }

  #changed(what: string): SafetensorsError {
    return new SafetensorsError("SOURCE_CHANGED", `${this.name} changed while it was being read: ${what}`);
  }

  /** Runs attempts until one succeeds, one fails for good, or as many as allowed have brought nothing. */
  async #retrying(
    signal: AbortSignal | undefined,
    attempt: (body: BodyReader) => Promise<void>,
  ): Promise<void> {
    for (let tried = 1; ; tried++) {
      const body = new BodyReader(this.name, this.#options.patience ?? PATIENCE, signal);
      try {
        return await attempt(body);
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof Interruption)) throw error;
        if (body.received > 0) tried = 1;
        if (tried >= this.#retry.tries) throw error.failure;
        await backOff(tried, this.#retry, error.wait, signal);
      } finally {
        body.close();
      }
    }
  }
}

/** Receives the body of one response, and gives up on it when nothing comes for too long. */
class BodyReader {
  received = 0;
  readonly #name: string;
  readonly #patience: number;
  readonly #stalled = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly signal: AbortSignal;

  constructor(name: string, patience: number, callers: AbortSignal | undefined) {
    this.#name = name;
    this.#patience = patience;
    this.signal = callers ? AbortSignal.any([callers, this.#stalled.signal]) : this.#stalled.signal;
    this.#wind();
  }

  /** Fills `target`; where the body must be `whole`, one that goes on behind that is an error. */
  async fill(
    response: Response,
    target: Uint8Array,
    whole: boolean,
    onBytes?: (count: number) => void,
  ): Promise<void> {
    const reader = response.body?.getReader();
    if (!reader) throw this.#interrupted("sent no body", undefined);
    let filled = 0;
    try {
      while (filled < target.length || whole) {
        const { done, value } = await reader.read();
        if (done) break;
        this.#wind();
        const room = target.length - filled;
        if (value.length > room && whole)
          throw new SafetensorsError("IO", `${this.#name} sent more than was asked for`);
        target.set(value.subarray(0, room), filled);
        const count = Math.min(value.length, room);
        filled += count;
        this.received += count;
        onBytes?.(count);
      }
    } catch (error) {
      if (error instanceof SafetensorsError) throw error;
      throw this.#interrupted(`broke off: ${reasonOf(error)}`, error);
    } finally {
      reader.cancel().catch(() => {});
    }
    if (filled < target.length)
      throw this.#interrupted(`ended ${target.length - filled} bytes early`, undefined);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #wind(): void {
    clearTimeout(this.#timer);
    const reason = new Interruption(
      new SafetensorsError("IO", `${this.#name} sent nothing for ${this.#patience} ms`),
    );
    this.#timer = setTimeout(() => this.#stalled.abort(reason), this.#patience);
  }

  #interrupted(what: string, cause: unknown): Interruption {
    return new Interruption(new SafetensorsError("IO", `the answer of ${this.#name} ${what}`, { cause }));
  }
}
