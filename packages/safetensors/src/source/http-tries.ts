import { Interruption, Tries } from "./backoff.ts";
import type { UrlOptions } from "./http.ts";
import { Attempt } from "./http-attempt.ts";

/** Milliseconds without a byte after which a connection counts as dropped, unless said otherwise. */
const PATIENCE = 30_000;

/**
 * Makes a request, again and again while what it fails with may pass.
 *
 * @param name what to call the place in messages.
 * @param once makes one attempt; it may note progress in `tries`, so that the next failure counts as a first one.
 * @throws what `once` throws unless it is an `Interruption`; the failure of the last try; the reason of the signal
 */
export async function withTries<T>(
  name: string,
  {
    retry,
    patience = PATIENCE,
    signal,
    traffic,
  }: Pick<UrlOptions, "retry" | "patience" | "signal" | "traffic">,
  once: (attempt: Attempt, tries: Tries) => Promise<T>,
): Promise<T> {
  const tries = new Tries(retry);
  for (;;) {
    const attempt = new Attempt(name, patience, signal, traffic);
    let interruption: Interruption;
    try {
      return await once(attempt, tries);
    } catch (error) {
      if (!(error instanceof Interruption)) throw error;
      interruption = error;
    } finally {
      attempt.close();
    }
    await tries.failed(interruption, signal);
  }
}
