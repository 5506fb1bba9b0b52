import { constants } from "node:fs";
import { copyFile, link, open, rename, rm, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { ShardIndex } from "../../checkpoint/shard-index.ts";
import { ioError } from "../io-error.ts";
import { type CommitNote, readIndexFile, readNotedIndex, stampOf, writeIndexFile } from "./commit-note.ts";
import { flushFolder, followLinks } from "./file-sink.ts";
import { isTemporaryFor, leftoversIn, temporaryFor } from "./litter.ts";
import { ownPlace } from "./litter-writer.ts";

/** The visible name of a new file whose final name is still that of an old one. Both are shards to every reader. */
export function passingName(name: string, id: string): string {
  return name.replace(/(?=(\.[^.]*)?$)/, `.new-${id}`);
}

/** The final name of a file with such a name. */
function finalName(name: string, id: string): string | undefined {
  const final = name.replace(`.new-${id}`, "");
  return final !== name && passingName(final, id) === name ? final : undefined;
}

/**
 * Ends a commit whose index has its place: new files get their final names, old ones go. Each step leaves the new
 * checkpoint whole, and doing it again does no harm, so that it also ends what a killed process began.
 *
 * @param isOurs the files that a note of unknown origin may speak of.
 * @returns names of the files of that checkpoint, its index too; none if there was nothing to do
 * @throws `IO`
 */
export async function finishCommit(path: string, isOurs: (name: string) => boolean): Promise<string[]> {
  const noted = await readNotedIndex(path);
  if (!noted) return [];
  const { index, note } = noted;
  const folder = dirname(path);
  const mayTouch = mayTouchFor(note, isOurs);
  const finals = new Map<string, string>();
  for (const file of index.files) {
    const final = finalName(file, note.id);
    if (final !== undefined) finals.set(file, final);
  }
  if (![...finals.values()].every(mayTouch)) return [];
  const weightMap = await takePlaces(path, index, note, finals);

  const kept = new Set(weightMap.values());
  const own = basename(path);
  for (const name of [...note.drop, ...finals.keys()]) {
    if (name !== own && !kept.has(name) && mayTouch(name)) await removeFile(join(folder, name));
  }
  flushFolder(folder);
  if (note.drop.includes(own)) await removeFile(path);
  else await writeIndexFile(path, index.metadata, weightMap);
  flushFolder(folder);
  return [...kept, own].filter(mayTouch);
}

/**
 * Which files a note may speak of. What runs elsewhere, or ran before a restart, may have written it, but also somebody
 * who wants a file removed: there, only names of this checkpoint count.
 */
function mayTouchFor(note: CommitNote, isOurs: (name: string) => boolean): (name: string) => boolean {
  return (name) => note.place === ownPlace() || isOurs(finalName(name, note.id) ?? name);
}

/** Gives the new files their final names, and then an index that says so its place. */
async function takePlaces(
  path: string,
  index: ShardIndex,
  note: CommitNote,
  finals: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, string>> {
  if (finals.size === 0) return index.weightMap;
  const folder = dirname(path);
  for (const [passing, final] of finals) await putInPlace(join(folder, passing), join(folder, final));
  flushFolder(folder);
  const weightMap = new Map(
    Array.from(index.weightMap, ([tensor, file]) => [tensor, finals.get(file) ?? file]),
  );
  const drop = [...note.drop, ...finals.keys()];
  await writeIndexFile(path, index.metadata, weightMap, { ...note, arrivals: [], drop });
  return weightMap;
}

/** Puts a file under a second name, over what is there, at once. */
async function putInPlace(from: string, path: string): Promise<void> {
  const target = await followLinks(path);
  const temporary = temporaryFor(target);
  try {
    await linkOrCopy(from, temporary);
    await rename(temporary, target);
    flushFolder(dirname(target));
  } catch (cause) {
    throw ioError(path, "write", cause);
  } finally {
    // It is still there also after a rename over another name of the same file, which does nothing.
    await rm(temporary, { force: true }).catch(() => {});
  }
}

async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch {
    // Not every file system has hard links, and none from one to another.
    await copyFlushed(from, to);
  }
}

/** Renames a file, or copies it where that would lead to another file system. */
export async function moveFile(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EXDEV") throw cause;
    await copyFlushed(from, to);
    await unlink(from);
  }
}

async function copyFlushed(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  const copy = await open(to, "r+");
  try {
    await copy.sync();
  } finally {
    await copy.close();
  }
}

async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw ioError(path, "remove", cause);
  }
}

/**
 * Undoes commits that were killed before their index took its place: their files get their temporary names back, from
 * which they can be used again or removed as litter.
 *
 * @param isOurs see `finishCommit`.
 * @returns names of files of the old checkpoint that those processes were to remove
 */
export async function undoCommits(path: string, isOurs: (name: string) => boolean): Promise<string[]> {
  const folder = dirname(path);
  const old: string[] = [];
  const indexTarget = await followLinks(path);
  const hidden = await leftoversIn(dirname(indexTarget), (name) => name === basename(indexTarget));
  for (const { path: draft, isGone, isRecord } of hidden) {
    if (!isGone || isRecord) continue;
    const note = (await readNotedIndex(draft))?.note;
    if (!note) continue;
    const mayTouch = mayTouchFor(note, isOurs);
    const inUse = new Set((await readIndexFile(path))?.files);
    for (const { name, temporary, stamp } of note.arrivals) {
      const arrived = join(folder, name);
      if (inUse.has(name) || !mayTouch(name) || (await stampOf(arrived).catch(() => undefined)) !== stamp)
        continue;
      if (temporary !== undefined && isTemporaryFor(temporary, () => true)) {
        await rename(arrived, join(folder, temporary));
      } else {
        await unlink(arrived);
      }
    }
    await unlink(draft);
    for (const name of note.drop) if (mayTouch(name)) old.push(name);
  }
  return old;
}
