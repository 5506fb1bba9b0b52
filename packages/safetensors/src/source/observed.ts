import type { ByteSource, ReadOptions } from "./source.ts";

/** Counts of what went through: the caller makes it, any number of sources add to it. */
export interface Traffic {
  /** Operations begun, those that failed included. */
  requests: number;
  /** Bytes that came. */
  bytes: number;
}

/**
 * The same source; what is asked of it is added to `traffic`. A view counts as a request of its full length, though the
 * system loads of a mapped file only what is touched. Reads that fail count as requests and bring no bytes.
 */
export function observed(source: ByteSource, traffic: Traffic): ByteSource {
  return {
    size: source.size,
    name: source.name,
    cost: source.cost,
    async read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
      traffic.requests++;
      const bytes = await source.read(offset, length, options);
      traffic.bytes += bytes.length;
      return bytes;
    },
    ...(source.readInto && {
      readInto(offset: number, target: Uint8Array, options?: ReadOptions): void | Promise<void> {
        const arrived = (): void => {
          traffic.bytes += target.length;
        };
        traffic.requests++;
        const wait = source.readInto!(offset, target, options);
        return wait ? wait.then(arrived) : arrived();
      },
    }),
    ...(source.view && {
      view(offset: number, length: number): Uint8Array {
        traffic.requests++;
        const bytes = source.view!(offset, length);
        traffic.bytes += bytes.length;
        return bytes;
      },
    }),
    close: () => source.close?.(),
  };
}
