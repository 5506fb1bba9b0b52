import { SafetensorsError } from "../errors.ts";
import { Interruption, LONGEST_TIMEOUT } from "./backoff.ts";
import type { Traffic } from "./observed.ts";

/** One attempt at a request: the caller's signal ends it, and so does a server that sends nothing for too long. */
export class Attempt {
  /** For `fetch`. */
  readonly signal: AbortSignal;
  readonly #traffic: Traffic | undefined;
  readonly #name: string;
  readonly #patience: number;
  readonly #ended = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(name: string, patience: number, callers: AbortSignal | undefined, traffic?: Traffic) {
    this.#traffic = traffic;
    this.#name = name;
    this.#patience = patience;
    this.signal = callers ? AbortSignal.any([callers, this.#ended.signal]) : this.#ended.signal;
    this.alive();
  }

  /** A request goes out: an attempt has several where it is redirected. */
  sending(): void {
    if (this.#traffic) this.#traffic.requests++;
  }

  /** The server gave a sign of life: patience begins anew. */
  alive(): void {
    clearTimeout(this.#timer);
    const stalled = (): void => {
      this.#ended.abort(this.interrupted(`sent nothing for ${this.#patience} ms`));
    };
    this.#timer = setTimeout(stalled, Math.min(this.#patience, LONGEST_TIMEOUT));
  }

  /** Ends what is still under way. */
  close(): void {
    clearTimeout(this.#timer);
    this.#ended.abort();
  }

  /** What to throw when waiting for the server has failed: why the attempt was ended, if it was, else what happened. */
  interrupted(what: string, error?: unknown): unknown {
    if (this.signal.aborted) return this.signal.reason;
    const because = error === undefined ? "" : `: ${reasonOf(error)}`;
    return new Interruption(new SafetensorsError("IO", `${this.#name} ${what}${because}`));
  }

  /**
   * Copies the body of an answer into `target`. A body that goes on behind it is an error where it must be `whole`, and
   * is left alone where not.
   *
   * @throws `Interruption` when bytes are missing; `IO`
   */
  async receive(
    response: Response,
    target: Uint8Array,
    whole: boolean,
    onBytes: (count: number) => void,
  ): Promise<void> {
    if (target.length === 0) return;
    const reader = response.body?.getReader();
    let filled = 0;
    while (filled < target.length || whole) {
      let bytes: Uint8Array | undefined;
      try {
        bytes = (await reader?.read())?.value;
      } catch (error) {
        // With all bytes there, it does not matter how the connection ended.
        if (filled === target.length) return;
        throw this.interrupted("broke off", error);
      }
      if (bytes === undefined) break;
      this.alive();
      if (this.#traffic) this.#traffic.bytes += bytes.length;
      const fitting = bytes.subarray(0, target.length - filled);
      if (whole && fitting.length < bytes.length) {
        throw new SafetensorsError("IO", `${this.#name} sent more than it was asked for`);
      }
      target.set(fitting, filled);
      filled += fitting.length;
      onBytes(fitting.length);
    }
    if (filled < target.length) throw this.interrupted(`ended ${target.length - filled} bytes early`);
  }
}

/**
 * Why `fetch` failed: Node says it in the cause. Some runtimes name the address, whose query may hold a signature. For
 * that reason the error itself is not passed on either.
 */
function reasonOf(error: unknown): string {
  const { cause, message } = error as Error & { cause?: { message?: string; code?: string } };
  return String(cause?.message || cause?.code || message).replace(/\?\S+/g, "?…");
}
