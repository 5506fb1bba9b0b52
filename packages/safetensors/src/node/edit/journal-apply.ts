import { fstatSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Disk } from "./disk.ts";
import { type Journal, type JournalFile, type JournalRange, SECTOR_BYTES } from "./journal.ts";
import { readAt, STEP_BYTES, sectorSums } from "./ranges.ts";

/** A file of a journal is neither as it was before the edit, nor after it, nor anything between. */
export class ForeignFile extends Error {
  readonly file: string;
  /** Whether another file has taken the name. */
  readonly isOther: boolean;

  constructor(file: string, isOther: boolean, what: string) {
    super(`${file} ${what}`);
    this.file = file;
    this.isOther = isOther;
  }
}

/** The journal went away: somebody else has done what it says. */
export class JournalGone extends Error {}

/** In which state the files of a journal are. */
export interface FilesState {
  /** Whether all are the very files that were edited: a copy of one has another number. */
  readonly areOriginals: boolean;
  /** Whether something is as before the edit, and something as after it. */
  readonly isHalfDone: boolean;
}

/**
 * Checks that every file of a journal is as before the edit, as after it, or something between: each sector is the old one or
 * the new one.
 *
 * @throws `ForeignFile`; errors of the system, also if a file may not be written
 */
export async function checkFiles(disk: Disk, journal: Journal): Promise<FilesState> {
  const seen = { old: false, new: false };
  let areOriginals = true;
  for (const file of journal.files) {
    const path = join(dirname(journal.path), file.name);
    if (file.next) seen[checkReplacement(path, file, file.next)] = true;
    else await withFile(disk, path, (fd) => checkRanges(fd, path, file, journal, seen));
    if (!file.next && inodeOf(path) !== file.inode) areOriginals = false;
  }
  return { areOriginals, isHalfDone: seen.old && seen.new };
}

/**
 * Does what a journal says, and removes it. Doing it again, or going on after a part of it, comes to the same.
 *
 * @throws `JournalGone`; errors of the system: then it may be tried again
 */
export async function applyJournal(disk: Disk, journal: Journal): Promise<void> {
  const folder = dirname(journal.path);
  for (const file of journal.files) {
    if (file.next) continue;
    await withFile(disk, join(folder, file.name), async (fd) => {
      for (const range of file.ranges) await writeRange(disk, fd, range, journal);
      disk.flush(fd);
    });
  }
  const replaced = journal.files.filter(({ next }) => next !== undefined);
  for (const file of replaced) {
    const path = join(folder, file.name);
    checkPresence(journal);
    if (checkReplacement(path, file, file.next!) === "old") disk.rename(join(folder, file.next!.name), path);
  }
  if (replaced.length > 0) disk.flushFolder(folder);
  checkPresence(journal);
  disk.remove(journal.path);
  disk.flushFolder(folder);
}

async function withFile(disk: Disk, path: string, work: (fd: number) => Promise<void>): Promise<void> {
  const fd = disk.open(path);
  try {
    await work(fd);
  } finally {
    disk.close(fd);
  }
}

function checkReplacement(
  path: string,
  file: JournalFile,
  next: { name: string; inode: string },
): "old" | "new" {
  const now = inodeOf(path);
  if (now === next.inode) return "new";
  if (now === file.inode && inodeOf(join(dirname(path), next.name)) === next.inode) return "old";
  throw new ForeignFile(path, true, "is another file by now");
}

async function checkRanges(
  fd: number,
  path: string,
  file: JournalFile,
  journal: Journal,
  seen: { old: boolean; new: boolean },
): Promise<void> {
  const status = fstatSync(fd, { bigint: true });
  const isOther = String(status.ino) !== file.inode;
  const foreign = (what: string): ForeignFile => new ForeignFile(path, isOther, what);
  if (!status.isFile()) throw foreign("is not a file");
  if (Number(status.size) !== file.size) {
    throw foreign(`has ${status.size} bytes by now, and had ${file.size}`);
  }
  for (const range of file.ranges) {
    for (let at = 0; at < range.length; at += STEP_BYTES) {
      const length = Math.min(STEP_BYTES, range.length - at);
      const now = readAt(fd, range.offset + at, length);
      const after = await journal.source.read(range.afterAt + at, length);
      const [sectors, first] = [Math.ceil(length / SECTOR_BYTES), at / SECTOR_BYTES];
      const before = await journal.source.read(range.beforeAt + first * 4, sectors * 4);
      const wrong = foreignSector(now, before, after, seen);
      if (wrong >= 0) throw foreign(`has been written to, at byte ${range.offset + at + wrong}`);
      await nextTurn();
    }
  }
}

/** Where the first sector begins that is neither the old nor the new one, or -1; notes which ones there are. */
function foreignSector(
  now: Uint8Array,
  before: Uint8Array,
  after: Uint8Array,
  seen: { old: boolean; new: boolean },
): number {
  const sums = sectorSums(now);
  const areOld = Buffer.compare(sums, before) === 0;
  if (areOld || Buffer.compare(now, after) === 0) {
    // So it is nearly always, and then no sector need be looked at by itself.
    if (!areOld) seen.new = true;
    else if (Buffer.compare(now, after) !== 0) seen.old = true;
    return -1;
  }
  for (let at = 0, sum = 0; at < now.length; at += SECTOR_BYTES, sum += 4) {
    const end = at + SECTOR_BYTES;
    const isOld = Buffer.compare(sums.subarray(sum, sum + 4), before.subarray(sum, sum + 4)) === 0;
    const isNew = Buffer.compare(now.subarray(at, end), after.subarray(at, end)) === 0;
    if (!isOld && !isNew) return at;
    // Many a sector stays the same.
    if (!isOld) seen.new = true;
    if (!isNew) seen.old = true;
  }
  return -1;
}

async function writeRange(disk: Disk, fd: number, range: JournalRange, journal: Journal): Promise<void> {
  for (let at = 0; at < range.length; at += STEP_BYTES) {
    const length = Math.min(STEP_BYTES, range.length - at);
    const after = await journal.source.read(range.afterAt + at, length);
    if (Buffer.compare(readAt(fd, range.offset + at, length), after) === 0) continue;
    checkPresence(journal);
    disk.write(fd, after, range.offset + at);
    await nextTurn();
  }
}

/** Two that finish the same edit do the same; but nobody may write once it is over, as the next one may have begun. */
function checkPresence(journal: Journal): void {
  if (inodeOf(journal.path) !== journal.inode) throw new JournalGone(`${journal.path} is gone`);
}

function inodeOf(path: string): string | undefined {
  const status = statSync(path, { bigint: true, throwIfNoEntry: false });
  return status && String(status.ino);
}
