import type { ByteSource } from "./source.ts";

/** Runs `action`; after an error the source is closed, and that error counts, not one of closing. */
export async function orClose<T>(source: ByteSource, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    try {
      await source.close?.();
    } catch {}
    throw error;
  }
}
