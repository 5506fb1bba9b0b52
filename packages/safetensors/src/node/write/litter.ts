import { lstat, readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { WRITER_PATTERN, writerState, writerTag } from "./litter-writer.ts";

/** Ending of the record of a part that can be used again: see resume.ts. */
export const RECORD_ENDING = ".json";

const TEMPORARY = new RegExp(`^\\.(.+)\\.${WRITER_PATTERN}\\.tmp(\\.json)?$`, "s");

/** A temporary file, or the record of one, that may have been left behind. */
export interface Leftover {
  readonly path: string;
  /** Name of the file that it was to become. */
  readonly target: string;
  readonly isRecord: boolean;
  /** Whether it is certain that nobody writes it any more; otherwise it must be left alone. */
  readonly isGone: boolean;
}

/** Where the bytes of a file are before it takes its place: beside it, hidden, under a name that says who writes it. */
export function temporaryFor(target: string, writer: string = writerTag()): string {
  return join(dirname(target), `.${basename(target)}.${writer}.tmp`);
}

/** Whether this is a temporary name for a file with that name. */
export function isTemporaryFor(name: string, isTarget: (name: string) => boolean): boolean {
  const [, target, , , , , record] = TEMPORARY.exec(name) ?? [];
  return target !== undefined && record === undefined && isTarget(target);
}

/**
 * Finds temporary files in a folder whose writers are gone, or may be. A folder that cannot be read has none.
 *
 * @param isTarget of which files: told by their names.
 */
export async function leftoversIn(folder: string, isTarget: (name: string) => boolean): Promise<Leftover[]> {
  const found: Leftover[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    const [, target, pid, start, place, , record] = TEMPORARY.exec(name) ?? [];
    if (target === undefined || !isTarget(target)) continue;
    const path = join(folder, name);
    const status = await lstat(path).catch(() => undefined);
    if (!status?.isFile()) continue;
    const state = writerState([pid!, start!, place!], status.mtimeMs);
    if (state !== "alive")
      found.push({ path, target, isRecord: record !== undefined, isGone: state === "gone" });
  }
  return found;
}

/** Removes temporary files whose writers are gone. What cannot be removed stays, and harms nobody. */
export async function removeLitter(folder: string, isTarget: (name: string) => boolean): Promise<void> {
  for (const { path, isGone } of await leftoversIn(folder, isTarget)) {
    if (isGone) await rm(path, { force: true }).catch(() => {});
  }
}

/** A file's name without its number in a set: numbered files of every count, and the one without, are of one kind. */
export function withoutNumbers(name: string): string {
  return name.replace(/-\d{5,6}-of-\d{5,6}(?=\.)/, "");
}

/**
 * Recognises by their names the files of a checkpoint that has these ones, also if it has another number of files, or an
 * index or none.
 */
export function isOfCheckpoint(files: readonly string[]): (name: string) => boolean {
  const names = new Set(files.map(withoutNumbers).flatMap((file) => [file, `${file}.index.json`]));
  return (name) => names.has(withoutNumbers(name));
}
