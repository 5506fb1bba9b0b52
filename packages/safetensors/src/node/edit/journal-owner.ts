import { threadId } from "node:worker_threads";
import { ownPlace, WRITER_PATTERN, writerState, writerTag } from "../write/litter-writer.ts";

/** Whose edit a journal is. */
export interface JournalOwner {
  /** See `writerTag`. */
  readonly writer: string;
  /** Number of the thread in its process. */
  readonly thread: number;
}

/** A process of another machine or container cannot be asked for: after so long without a change it counts as gone. */
const SILENCE_MILLISECONDS = 60_000;

const WRITER = new RegExp(`^${WRITER_PATTERN}$`);

/** Journals that this thread is working on. */
const underWay = new Set<string>();

/** This thread as an owner. */
export function ownOwner(): JournalOwner {
  return { writer: writerTag(), thread: threadId };
}

/** The number of the owner's process; undefined if that is no owner. */
export function processOf({ writer }: JournalOwner): number | undefined {
  const pid = WRITER.exec(writer)?.[1];
  return pid === undefined ? undefined : Number(pid);
}

/** Runs work on a journal; meanwhile this thread counts as its owner. */
export async function ownsJournal<T>(path: string, work: () => Promise<T>): Promise<T> {
  underWay.add(path);
  try {
    return await work();
  } finally {
    underWay.delete(path);
  }
}

/**
 * Whether nobody works on a journal any more.
 *
 * @param lastChange when the journal or a file of it was last written, in milliseconds since 1970.
 */
export function isAbandoned(path: string, { writer, thread }: JournalOwner, lastChange: number): boolean {
  const groups = (WRITER.exec(writer) ?? []).slice(1);
  const state = writerState(groups, lastChange);
  if (state === "unknown") return Date.now() - lastChange > SILENCE_MILLISECONDS;
  const isOwn = groups[0] === String(process.pid) && groups[2] === ownPlace();
  return state === "gone" || (isOwn && thread === threadId && !underWay.has(path));
}
