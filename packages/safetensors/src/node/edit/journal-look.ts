import { existsSync, lstatSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/** Name of the journal of an edit that changes several files of a folder. */
export const GROUP_JOURNAL = ".safetensors-edit.journal";

/** Where the journal of an edit of one file is. `file` is the file itself, not a link to it. */
export function journalOf(file: string): string {
  return join(dirname(file), `.${basename(file)}.journal`);
}

/** Where the journal of an edit of several files is. */
export function groupJournalOf(file: string): string {
  return join(dirname(file), GROUP_JOURNAL);
}

/**
 * Whether a journal lies beside a file: an edit is under way, or was interrupted. Asked after the file was opened: an edit
 * that begins later changes the time of modification, which every read looks at. Three calls that take microseconds.
 */
export function hasJournal(path: string): boolean {
  const file = followLink(path);
  return existsSync(journalOf(file)) || existsSync(groupJournalOf(file));
}

function followLink(path: string): string {
  try {
    // Links to folders need no resolving: the journal is reached through them as the file is.
    return lstatSync(path).isSymbolicLink() ? realpathSync(path) : path;
  } catch {
    return path;
  }
}
