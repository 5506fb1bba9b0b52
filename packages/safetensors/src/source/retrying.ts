import { type ErrorCode, SafetensorsError } from "../errors.ts";
import { Interruption, type RetryOptions, Tries } from "./backoff.ts";
import { readExactly } from "./read-into.ts";
import type { ByteSource, ReadOptions } from "./source.ts";

/** Options of `retrying`. */
export interface RetryingOptions extends RetryOptions {
  /**
   * Whether a failure may pass. Without it `IO`, `SHORT_READ` and all errors that are not of this library may. It is not
   * asked about what no repetition cures: aborts, `OUT_OF_RANGE`, `CLOSED`, `SOURCE_CHANGED`, `UNSUPPORTED`,
   * `LIMIT_EXCEEDED`.
   */
  readonly isPassing?: ((error: unknown) => boolean) | undefined;
}

const FINAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "OUT_OF_RANGE",
  "CLOSED",
  "SOURCE_CHANGED",
  "UNSUPPORTED",
  "LIMIT_EXCEEDED",
]);

/**
 * The same source; a read that fails is made again, after waits that grow, as long as it may pass and tries are left.
 * Views are not made again: they do not wait for anything. For sources of your own: `openUrl` does this itself, and goes
 * on from the byte it reached.
 *
 * @throws what the source throws; `IO` with the cause for errors that are not of this library, when no try is left
 */
export function retrying(source: ByteSource, options: RetryingOptions = {}): ByteSource {
  const { isPassing = mayPass } = options;

  async function persist<T>(
    first: Promise<T>,
    again: () => Promise<T>,
    at: number,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const tries = new Tries(options);
    for (let attempt = first; ; attempt = again()) {
      try {
        return await attempt;
      } catch (failure) {
        signal?.throwIfAborted();
        if (isFinal(failure) || !isPassing(failure)) throw failure;
        await tries.failed(new Interruption(asOurs(failure, source, at)), signal);
      }
    }
  }

  return {
    size: source.size,
    name: source.name,
    cost: source.cost,
    async read(offset: number, length: number, more?: ReadOptions): Promise<Uint8Array> {
      const attempt = (): Promise<Uint8Array> => readExactly(source, offset, length, more);
      return persist(attempt(), attempt, offset, more?.signal);
    },
    ...(source.readInto && {
      readInto(offset: number, target: Uint8Array, more?: ReadOptions): void | Promise<void> {
        const attempt = (): void | Promise<void> => source.readInto!(offset, target, more);
        let first: void | Promise<void>;
        try {
          first = attempt();
        } catch (error) {
          first = Promise.reject(error);
        }
        return first && persist(first, async () => attempt(), offset, more?.signal);
      },
    }),
    ...(source.view && { view: (offset: number, length: number) => source.view!(offset, length) }),
    close: () => source.close?.(),
  };
}

function mayPass(error: unknown): boolean {
  return !(error instanceof SafetensorsError) || error.code === "IO" || error.code === "SHORT_READ";
}

function isFinal(error: unknown): boolean {
  if (error instanceof SafetensorsError) return FINAL.has(error.code);
  return error instanceof Error && error.name === "AbortError";
}

function asOurs(error: unknown, { name = "the source" }: ByteSource, at: number): SafetensorsError {
  if (error instanceof SafetensorsError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new SafetensorsError("IO", `${name} failed: ${reason}`, { at, cause: error });
}
