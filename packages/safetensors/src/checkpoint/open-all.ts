import type { Checkpoint } from "./checkpoint.ts";

/** Headers read at the same time. */
const HEADERS_IN_FLIGHT = 8;

/** What has been opened, with whatever is to be known of it. */
interface Opened {
  readonly checkpoint: Checkpoint;
}

/** Opens all, several at a time, in order; after an error the opened ones are closed. */
export async function openAll<Place, One extends Opened>(
  places: readonly Place[],
  openOne: (place: Place) => Promise<One>,
): Promise<One[]> {
  const opened: One[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < places.length) {
      const position = next++;
      try {
        opened[position] = await openOne(places[position]!);
      } catch (error) {
        next = places.length;
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(
    Array.from({ length: Math.min(places.length, HEADERS_IN_FLIGHT) }, worker),
  );
  const failed = results.find((result) => result.status === "rejected");
  if (!failed) return opened;
  await closeAll(opened.filter(Boolean));
  throw failed.reason;
}

/** Closes all after an error, which counts more than one of closing. */
export async function closeAll(opened: readonly Opened[]): Promise<void> {
  await Promise.allSettled(opened.map(({ checkpoint }) => checkpoint.close()));
}
