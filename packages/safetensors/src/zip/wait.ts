/**
 * Waits for work that others may wait for too, as long as the caller does.
 *
 * @param leave called when the signal ends the wait, with its reason.
 */
export function waitFor<T>(
  work: Promise<T>,
  callers: AbortSignal | undefined,
  leave: (reason: unknown) => void,
): Promise<T> {
  if (!callers) return work;
  // Many reads may share a signal, and Node warns of more than ten listeners: so each wait has one of its own.
  const signal = AbortSignal.any([callers]);
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      reject(signal.reason);
      leave(signal.reason);
    };
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).then(() => signal.removeEventListener("abort", abort));
  });
}
