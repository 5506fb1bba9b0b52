import { SafetensorsError } from "../errors.ts";
import type { RetryOptions } from "./backoff.ts";
import { noRanges, readFirstAnswer, readRangeAnswer, readRefusedTotal } from "./http-range.ts";
import { HttpRequester } from "./http-request.ts";
import { withTries } from "./http-tries.ts";
import type { Traffic } from "./observed.ts";
import { checkRange } from "./range.ts";
import type { ByteSource, ReadOptions } from "./source.ts";

/** Options of `openUrl`; its signal is for the opening alone. */
export interface UrlOptions extends ReadOptions {
  /**
   * Sent to the server of the URL, never to another one that it redirects to. In browsers, which hide redirects, only
   * Authorization is sent where there is one.
   */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Used instead of the global `fetch`, for example one that signs requests. */
  readonly fetch?: typeof fetch | undefined;
  readonly retry?: RetryOptions | undefined;
  /** Bytes of the first request, which also brings size and version; 131,072 unless said otherwise. */
  readonly firstRead?: number | undefined;
  /** Milliseconds without a byte after which a connection counts as dropped; 30,000 unless said otherwise. */
  readonly patience?: number | undefined;
  /**
   * Counts what goes over the wire: each request sent, repeated and redirected ones included (but not redirects that a
   * browser hides), and the bytes of the file that come, also those that are read again or not kept.
   */
  readonly traffic?: Traffic | undefined;
}

/** The headers of 97 in 100 published models have less than 100,000 bytes; a longer one costs one more request. */
const FIRST_READ = 128 << 10;

/** A round trip and a fast line: it pays to read two and a half megabytes to save a request. */
const COST = { operation: 50e-3, byte: 20e-9 };

/**
 * A file on a server as a source, by range requests. The version found first is pinned: a file that changes is an error,
 * never mixed data, as far as the server tells versions apart (by ETag, else by date and size). A request that fails in a
 * way that may pass is tried again, from the byte that was reached.
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
  #size = 0;
  #version: string | undefined;
  /** The first bytes, which came with size and version. */
  #head = new Uint8Array(0);

  constructor(url: string, options: UrlOptions) {
    this.#options = options;
    this.#requester = new HttpRequester(url, options.headers, options.fetch);
    this.name = this.#requester.name;
  }

  get size(): number {
    return this.#size;
  }

  /** Learns size and version, and keeps the bytes that come along. */
  async begin(): Promise<void> {
    const length = this.#options.firstRead ?? FIRST_READ;
    if (!(Number.isSafeInteger(length) && length > 0)) {
      throw new SafetensorsError("OUT_OF_RANGE", `firstRead is a number of bytes, ${length} is not possible`);
    }
    await this.#receive(0, length, this.#options.signal, (response, at) => {
      if (at > 0) this.#check(response, at, length);
      else this.#pin(response, length);
      return this.#head.subarray(at);
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
    const end = offset + target.length;
    const known = this.#head.subarray(offset, end);
    target.set(known);
    if (known.length === target.length) return;
    await this.#receive(offset + known.length, end, options?.signal, (response, at) => {
      this.#check(response, at, end);
      return target.subarray(at - offset);
    });
  }

  /**
   * Asks for the bytes from `start` to `end`, again and again from where it was interrupted.
   *
   * @param accept checks the head of an answer to a request from `at`, and says where its bytes go.
   */
  async #receive(
    start: number,
    end: number,
    signal: AbortSignal | undefined,
    accept: (response: Response, at: number) => Uint8Array,
  ): Promise<void> {
    let at = start;
    await withTries(this.name, { ...this.#options, signal }, async (attempt, tries) => {
      const response = await this.#requester.get(at, end, attempt);
      const target = accept(response, at);
      // Of a whole file where a part was asked for, only its beginning is taken.
      const isPart = response.status === 206;
      await attempt.receive(response, target, isPart || target.length === this.#size, (count) => {
        if (!isPart) return;
        at += count;
        tries.progress();
      });
    });
  }

  #pin(response: Response, length: number): void {
    const { end, total, version } = readFirstAnswer(response, this.name, length);
    this.#size = total;
    this.#version = version;
    this.#head = new Uint8Array(end);
  }

  #check({ status, headers }: Response, at: number, end: number): void {
    if (status === 200) throw noRanges(this.name);
    if (status === 416) {
      if (readRefusedTotal(headers) !== this.#size) throw this.#changed("it has become shorter");
      throw new SafetensorsError("IO", `${this.name} refuses to send bytes that it has (status 416)`, { at });
    }
    const { total, version } = readRangeAnswer(headers, this.name, at, end);
    if (total !== this.#size) throw this.#changed(`it had ${this.#size} bytes, now it has ${total}`);
    if (version !== this.#version) throw this.#changed("it has another ETag or date");
  }

  #changed(what: string): SafetensorsError {
    return new SafetensorsError("SOURCE_CHANGED", `${this.name} changed while it was being read: ${what}`);
  }
}
