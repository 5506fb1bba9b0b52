import { closeSync, fstatSync, openSync } from "node:fs";
import { basename, dirname } from "node:path";
import { SafetensorsError } from "../../errors.ts";
import type { ReadOptions } from "../../source/source.ts";
import { ioError } from "../io-error.ts";
import type { Disk } from "./disk.ts";
import { type Journal, readJournal } from "./journal.ts";
import { applyJournal, checkFiles, ForeignFile, JournalGone } from "./journal-apply.ts";
import { groupJournalOf, journalOf } from "./journal-look.ts";
import { ownsJournal } from "./journal-owner.ts";
import { type FileEdit, writeJournal } from "./journal-write.ts";
import { readAt } from "./ranges.ts";

/**
 * Changes files as one: first all that will change goes into a journal, then the files are written, then the journal is
 * removed. A run that dies leaves the files as they were, or a journal with which the next one to open them goes on.
 *
 * @param path of the journal, in the folder of the files.
 * @param edits of files that are no links.
 * @throws `IO`; `SOURCE_CHANGED` if a file was written to meanwhile; what reading the new bytes throws. If the journal is
 *   there by then, the message says so.
 */
export async function commitEdits(
  disk: Disk,
  path: string,
  edits: readonly FileEdit[],
  options: ReadOptions,
): Promise<void> {
  const names = new Set(edits.map((edit) => basename(edit.path)));
  await ownsJournal(path, async () => {
    await writeJournal(disk, path, edits, options);
    const journal = await readJournal(path);
    if (!journal) throw new SafetensorsError("IO", `${path} was removed`, { file: path });
    try {
      await checkAlone(disk, journal, edits, names);
      await apply(disk, journal, edits[0]!.path);
    } finally {
      await journal.source.close();
    }
  });
}

/** From here on nobody else begins an edit of these files; one that began at the same moment makes this one give up. */
async function checkAlone(
  disk: Disk,
  journal: Journal,
  edits: readonly FileEdit[],
  names: ReadonlySet<string>,
): Promise<void> {
  try {
    const others = [groupJournalOf(journal.path), ...edits.map((edit) => journalOf(edit.path))];
    for (const other of others) if (other !== journal.path) await checkRival(other, names);
    for (const edit of edits) checkUnchanged(edit);
    await checkFiles(disk, journal);
  } catch (error) {
    disk.remove(journal.path);
    disk.flushFolder(dirname(journal.path));
    if (error instanceof ForeignFile) {
      const text = `${error.message}: it was written to while it was to be edited`;
      throw new SafetensorsError("SOURCE_CHANGED", text, { file: error.file });
    }
    throw error instanceof SafetensorsError ? error : ioError(edits[0]!.path, "write", error);
  }
}

function checkUnchanged({ path, head, modified }: FileEdit): void {
  const fd = openSync(path, "r");
  try {
    const isSame = Buffer.compare(readAt(fd, 0, head.length), head) === 0;
    const { mtimeNs } = fstatSync(fd, { bigint: true });
    if (isSame && (modified === undefined || mtimeNs === modified)) return;
  } finally {
    closeSync(fd);
  }
  throw new ForeignFile(path, false, "is not as it was read");
}

async function checkRival(path: string, names: ReadonlySet<string>): Promise<void> {
  const other = await readJournal(path);
  if (!other) return;
  await other.source.close();
  if (!other.files.some(({ name }) => names.has(name))) return;
  throw new SafetensorsError("IO", `another edit is under way: ${path} is there`, { file: path });
}

async function apply(disk: Disk, journal: Journal, file: string): Promise<void> {
  try {
    await applyJournal(disk, journal);
  } catch (cause) {
    if (cause instanceof JournalGone) return;
    const why = (cause as Error).message;
    const text = `the edit of ${file} was interrupted: ${why}; it will be finished when the file is opened again`;
    throw new SafetensorsError("IO", text, { file, cause });
  }
}

/** The journal for an edit of these files: of several, or an index beside them, one for all. */
export function journalFor(paths: readonly string[]): string {
  return paths.length === 1 ? journalOf(paths[0]!) : groupJournalOf(paths[0]!);
}
