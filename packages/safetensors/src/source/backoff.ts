import { SafetensorsError } from "../errors.ts";

/** How often and how patiently a request is tried again. */
export interface RetryOptions {
  /** Tries in all without a byte of progress; 5 unless said otherwise. */
  readonly tries?: number | undefined;
  /** Milliseconds before the second try; each further wait is twice as long. 200 unless said otherwise. */
  readonly firstWait?: number | undefined;
  /** Most milliseconds of a wait, also of one that the server asks for; 30,000 unless said otherwise. */
  readonly longestWait?: number | undefined;
}

/** A failure that may pass: the request is worth another try. */
export class Interruption extends Error {
  /** What to tell the user when no try is left. */
  readonly failure: SafetensorsError;
  /** Milliseconds that the server asked to wait. */
  readonly wait: number;

  constructor(failure: SafetensorsError, wait = 0) {
    super(failure.message);
    this.failure = failure;
    this.wait = wait;
  }
}

/** What `setTimeout` can wait; it takes more for "at once". */
export const LONGEST_TIMEOUT: number = 2 ** 31 - 1;

/** Counts the tries of one request, and waits between them. */
export class Tries {
  readonly #tries: number;
  readonly #firstWait: number;
  readonly #longestWait: number;
  #failed = 0;

  constructor({ tries = 5, firstWait = 200, longestWait = 30_000 }: RetryOptions = {}) {
    this.#tries = tries;
    this.#firstWait = firstWait;
    this.#longestWait = longestWait;
  }

  /** Something came: whatever fails from now on is a first failure again. */
  progress(): void {
    this.#failed = 0;
  }

  /**
   * Waits before the next try: as long as the server asked, and a time that doubles with each failure and is in part
   * random, so that clients that failed together do not come back together.
   *
   * @throws the failure when no try is left, the reason of `signal` when it ends the wait
   */
  async failed({ failure, wait }: Interruption, signal?: AbortSignal): Promise<void> {
    this.#failed++;
    if (!(this.#failed < this.#tries)) {
      const { code, reason, details } = failure;
      throw this.#failed > 1
        ? new SafetensorsError(code, `${reason} (${this.#failed} tries)`, details)
        : failure;
    }
    const doubled = this.#firstWait * 2 ** (this.#failed - 1) * (0.5 + Math.random() / 2);
    await pause(Math.min(doubled, this.#longestWait) + Math.min(wait, this.#longestWait), signal);
  }
}

/** Waits; an abort ends it at once. */
function pause(milliseconds: number, callers?: AbortSignal): Promise<void> {
  // Many reads may share a signal, and Node warns of more than ten listeners: so each wait has one of its own.
  const signal = callers && AbortSignal.any([callers]);
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const end = (): void => {
      signal?.removeEventListener("abort", stop);
      resolve();
    };
    const timer = setTimeout(end, Math.min(milliseconds, LONGEST_TIMEOUT));
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}
