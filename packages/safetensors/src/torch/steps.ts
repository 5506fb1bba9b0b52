/** Work that pauses now and then. Whoever drives it may then let others do theirs, or give it up. */
export type Steps<T> = Generator<void, T, void>;

/** Milliseconds of work until the others get their turn. */
const TURN_MS = 50;

/** Opcodes of a pickle between two pauses: some milliseconds. */
export const OPCODES_AT_ONCE: number = 1 << 16;

/** Work that is done when it gives a result, and pauses until then. */
export function* untilDone<T>(work: () => T | undefined): Steps<T> {
  for (;;) {
    const result = work();
    if (result !== undefined) return result;
    yield;
  }
}

/** Does all of the work at once. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/**
 * Does the work so that timers, input and signals of the system get their turn between its steps.
 *
 * @throws what the work throws; the signal's reason
 */
export async function steadily<T>(steps: Steps<T>, signal: AbortSignal | undefined): Promise<T> {
  let since = performance.now();
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    if (performance.now() - since < TURN_MS) continue;
    await new Promise<void>((resolve) => setTimeout(resolve, 0));
    signal?.throwIfAborted();
    since = performance.now();
  }
}
