import { realpathSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { SafetensorsError } from "../../errors.ts";
import { ioError } from "../io-error.ts";
import { removeLitter } from "../write/litter.ts";
import { type Disk, realDisk } from "./disk.ts";
import { type Journal, readJournal } from "./journal.ts";
import { applyJournal, checkFiles, ForeignFile, JournalGone } from "./journal-apply.ts";
import { groupJournalOf, journalOf } from "./journal-look.ts";
import { isAbandoned, ownsJournal, processOf } from "./journal-owner.ts";

/** How long to wait for an edit that is under way, and how often to look. */
const WAIT_MILLISECONDS = 5000;
const LOOK_MILLISECONDS = 20;

/** Options of `finishEdits`. */
export interface FinishOptions {
  /** Finish an edit also if its process seems to be running still. */
  readonly force?: boolean | undefined;
  readonly disk?: Disk | undefined;
}

/**
 * Finishes edits of a file that were interrupted, and waits for those that are under way.
 *
 * @returns false if nothing has changed: a journal is there that does not concern the file
 * @throws `IO` if an edit cannot be finished here, or goes on for seconds; `SOURCE_CHANGED` if the file has been written to
 *   since the edit was interrupted
 */
export async function finishEdits(path: string, options: FinishOptions = {}): Promise<boolean> {
  let file: string;
  try {
    file = realpathSync(path);
  } catch (cause) {
    throw ioError(path, "open", cause);
  }
  const own = await finishJournal(journalOf(file), file, options);
  const group = await finishJournal(groupJournalOf(file), file, options);
  return !(own === "not ours" || group === "not ours") || own === "finished" || group === "finished";
}

type Finished = "absent" | "finished" | "not ours";

async function finishJournal(path: string, file: string, options: FinishOptions): Promise<Finished> {
  for (let waited = 0; ; waited += LOOK_MILLISECONDS) {
    const journal = await readJournal(path);
    if (!journal) return waited === 0 ? "absent" : "finished";
    try {
      if (!journal.files.some(({ name }) => name === basename(file))) {
        if (path === groupJournalOf(file)) return "not ours";
        const text = `${path} is the journal of an edit of another file; put both back where they were`;
        throw new SafetensorsError("IO", text, { file: path });
      }
      checkOwnership(journal, file);
      if (options.force || isAbandoned(path, journal.owner, lastChange(journal))) {
        return await finishAbandoned(journal, options);
      }
      if (waited >= WAIT_MILLISECONDS) throw stillUnderWay(journal, file);
    } finally {
      await journal.source.close();
    }
    await wait(LOOK_MILLISECONDS);
  }
}

function stillUnderWay({ owner }: Journal, file: string): SafetensorsError {
  const text = `${file} is being edited by process ${processOf(owner)}; try again when that is done, or if that is none: safetensors edit ${file} --finish`;
  return new SafetensorsError("IO", text, { file });
}

async function finishAbandoned(
  journal: Journal,
  { force = false, disk = realDisk }: FinishOptions,
): Promise<Finished> {
  const { path } = journal;
  const file = join(dirname(path), journal.files[0]!.name);
  try {
    await ownsJournal(path, async () => {
      const { areOriginals, isHalfDone } = await checkFiles(disk, journal);
      // A journal that came along with a downloaded or copied file is never followed unasked.
      if (areOriginals || force) await applyJournal(disk, journal);
      else if (isHalfDone) throw copied(file);
      else disk.remove(path);
    });
    const names = new Set(journal.files.map(({ name }) => name));
    await removeLitter(dirname(path), (name) => names.has(name));
    return "finished";
  } catch (cause) {
    if (cause instanceof JournalGone) return "finished";
    if (cause instanceof ForeignFile) return leaveForeign(journal, cause, disk);
    if (cause instanceof SafetensorsError || !(cause as NodeJS.ErrnoException).code) throw cause;
    const why = (cause as Error).message;
    const text = `an edit of ${file} was interrupted, and cannot be finished here: ${why}; open it once where it may be written`;
    throw new SafetensorsError("IO", text, { file, cause });
  }
}

function copied(file: string): SafetensorsError {
  const text = `${file} is a copy of a file in the middle of an edit; to finish that: safetensors edit ${file} --finish`;
  return new SafetensorsError("IO", text, { file });
}

/** Another file in the place of the one that was edited is whole: then the journal is litter. */
function leaveForeign(journal: Journal, { file, isOther, message }: ForeignFile, disk: Disk): Finished {
  if (isOther && journal.files.length === 1) {
    try {
      disk.remove(journal.path);
      return "finished";
    } catch {
      return "not ours";
    }
  }
  const text = `an edit of ${file} was interrupted, and cannot be finished: ${message}; if it is whole, remove ${journal.path}`;
  throw new SafetensorsError("SOURCE_CHANGED", text, { file });
}

/** In a folder that many write to, nobody is to change the files of others through a journal. */
function checkOwnership(journal: Journal, file: string): void {
  const user = process.geteuid?.();
  const mayDecide = [user, 0, statSync(file).uid];
  if (user === undefined || mayDecide.includes(journal.uid)) return;
  const text = `${file} has a journal of an edit by another user (${journal.uid}), which is not trusted: ${journal.path}`;
  throw new SafetensorsError("IO", text, { file });
}

function lastChange(journal: Journal): number {
  return journal.files.reduce((latest, { name }) => {
    const status = statSync(join(dirname(journal.path), name), { throwIfNoEntry: false });
    return Math.max(latest, status?.mtimeMs ?? 0);
  }, journal.written);
}
