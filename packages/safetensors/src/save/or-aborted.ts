/** Waits for a value, but not on when the caller has given up: whatever becomes of the value then is left alone. */
export async function orAborted<T>(value: T | PromiseLike<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return value;
  let abort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
  try {
    return await Promise.race([aborted, value]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/**
 * What the iterator gives, in order. It is closed when the caller stops early, and when the caller has given up: then
 * without waiting for what is due.
 */
export async function* untilAborted<T>(
  iterator: AsyncIterator<T>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T, void, undefined> {
  const close = async (): Promise<void> => void (await iterator.return?.());
  let state: "waiting" | "given" | "ended" = "waiting";
  try {
    for (;;) {
      const next = await orAborted(iterator.next(), signal);
      state = next.done ? "ended" : "given";
      if (next.done) return;
      yield next.value;
      state = "waiting";
    }
  } finally {
    if (state === "given") await close();
    // An iterator that failed has closed itself.
    else if (state === "waiting" && signal?.aborted) close().catch(() => {});
  }
}
