import type { PlannedRead } from "./merge.ts";

/** The next read of a source, and the lowest tensor that it serves. */
interface Head {
  readonly rest: Iterator<PlannedRead>;
  readonly read: PlannedRead;
  readonly tensor: number;
}

/**
 * Reads of several sources, those of each in their order. The next one is always from the source whose next read
 * serves the lowest tensor: so a tensor that lies in many files is complete before memory for many others is taken.
 */
export function* interleave(
  sources: Iterable<Iterator<PlannedRead>>,
): Generator<PlannedRead, void, undefined> {
  // A binary heap: a checkpoint may have a thousand files. A sorted list is one.
  const heads: Head[] = [];
  for (const rest of sources) {
    const head = headOf(rest);
    if (head) heads.push(head);
  }
  heads.sort((a, b) => a.tensor - b.tensor);
  for (let [first] = heads; first; [first] = heads) {
    yield first.read;
    const next = headOf(first.rest);
    const last = next ?? heads.pop()!;
    if (heads.length > 0) sink(heads, last);
  }
}

function headOf(rest: Iterator<PlannedRead>): Head | undefined {
  const { done, value: read } = rest.next();
  if (done) return undefined;
  let tensor = Number.POSITIVE_INFINITY;
  for (let place = read.firstUnit; place < read.endUnit; place++)
    tensor = Math.min(tensor, read.units.tensor(place));
  return { rest, read, tensor };
}

/** Puts a head in the place of the first one, and from there down to where it belongs. */
function sink(heads: Head[], head: Head): void {
  let place = 0;
  for (;;) {
    let child = 2 * place + 1;
    if (child >= heads.length) break;
    if (child + 1 < heads.length && heads[child + 1]!.tensor < heads[child]!.tensor) child++;
    if (heads[child]!.tensor >= head.tensor) break;
    heads[place] = heads[child]!;
    place = child;
  }
  heads[place] = head;
}
