import { randomBytes } from "node:crypto";
import { lstatSync } from "node:fs";
import { rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { SafetensorsError } from "../../errors.ts";
import { ioError } from "../io-error.ts";
import { finishCommit, moveFile, passingName } from "./commit-finish.ts";
import { leadWithOld } from "./commit-lead.ts";
import { type Arrival, encodeNotedIndex, stampOf } from "./commit-note.ts";
import type { PreparedFile } from "./file-group.ts";
import { createSink, flushFolder } from "./file-sink.ts";
import { ownPlace } from "./litter-writer.ts";

/** Files that become a checkpoint, in place of the one that is there. */
export interface CheckpointCommit {
  readonly files: readonly PreparedFile[];
  /** Which tensor is in which of these files. */
  readonly weightMap: ReadonlyMap<string, string>;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Path of the index, in the folder of the files. */
  readonly index: string;
  /** Whether the new checkpoint has an index, or needs one only until the old one is gone. */
  readonly keepIndex: boolean;
  /** Names of files in that folder that go when the new ones are in place: see `namesToRetire`. */
  readonly retire: readonly string[];
}

/**
 * Replaces a checkpoint of several files by another. Whenever it stops, even killed, the folder holds the old one or
 * the new one, whole, for every reader that follows the index or takes the single file that it finds:
 *
 * 1. An old checkpoint of files without an index gets one.
 * 2. The new index is written under a temporary name, with a note of what is to be done.
 * 3. The new files become visible: under their own names, or, if one is taken or there is but one file, under passing ones.
 * 4. The index takes its place. Before, all that was done is undone after an error, or by the next writer; from here on
 *    it is finished, by the next writer if need be.
 * 5. What has a passing name gets its own as well, replacing old files one by one; then the index names these.
 * 6. Passing names and retired files are removed, and the note; or the index, if the new checkpoint has none.
 *
 * @throws `IO`
 */
export async function commitCheckpoint(commit: CheckpointCommit): Promise<void> {
  const { files, index, keepIndex } = commit;
  const folder = dirname(index);
  // Some prefer a single file to an index: it too must not be seen before the index is certain.
  const isPassing = !keepIndex || files.some(({ path }) => exists(path));
  const id = randomBytes(6).toString("hex");
  const visible = (path: string): string => (isPassing ? passingName(basename(path), id) : basename(path));
  const weightMap = new Map(Array.from(commit.weightMap, ([tensor, file]) => [tensor, visible(file)]));
  const drop = keepIndex ? commit.retire : [...commit.retire, basename(index)];
  const arrivals = await Promise.all(
    files.map(async ({ path, temporary }): Promise<Arrival> => {
      const isBeside = resolve(dirname(temporary)) === resolve(folder);
      const name = visible(path);
      return { name, temporary: isBeside ? basename(temporary) : undefined, stamp: await stampOf(temporary) };
    }),
  );
  const old = [...new Set([...commit.retire, ...files.map(({ path }) => basename(path))])];
  const sink = await createSink(index);
  const moved: [from: string, to: string][] = [];
  let isLed = false;
  try {
    isLed = await leadWithOld(index, old);
    await sink.write(encodeNotedIndex(commit.metadata, weightMap, { place: ownPlace(), id, arrivals, drop }));
    sink.prepare();
    flushFolder(folder);
    for (const { path, temporary } of files) {
      const to = join(folder, visible(path));
      await moveFile(temporary, to).catch((cause: unknown) => {
        throw ioError(path, "write", cause);
      });
      moved.push([temporary, to]);
    }
    flushFolder(folder);
    await sink.commit();
  } catch (error) {
    const undone = await Promise.allSettled(moved.map(([from, to]) => moveFile(to, from)));
    await sink.abort();
    const isUndone = undone.every(({ status }) => status === "fulfilled");
    if (isLed && isUndone) await rm(index, { force: true }).catch(() => {});
    throw error;
  }
  try {
    await finishCommit(index, () => true);
  } catch (error) {
    const { code, reason, details } = ioError(index, "finish", error);
    const text = `${reason}; the new checkpoint is whole, and the next save into ${folder} ends what is left to do`;
    throw new SafetensorsError(code, text, details);
  }
}

/**
 * Names of the files to remove: those that are there and are not replaced. Other indexes come first: with them, their
 * shards are gone for all who follow them.
 *
 * @throws `IO` for a path that leads out of the folder
 */
export function namesToRetire(
  folder: string,
  paths: readonly string[],
  replaced: readonly string[],
): string[] {
  const exact = new Set(replaced.map((path) => basename(path)));
  const alike = new Map(replaced.map((path) => [basename(path).toLowerCase(), path]));
  const isReplaced = (path: string): boolean => {
    const other = alike.get(basename(path).toLowerCase());
    // Where case does not matter to the file system, two such names are of one file.
    return exact.has(basename(path)) || (other !== undefined && isSameFile(other, path));
  };
  const names = new Set<string>();
  for (const path of paths) {
    if (dirname(resolve(path)) !== resolve(folder)) {
      const text = `cannot remove ${path}: it is not in the folder of the new checkpoint`;
      throw new SafetensorsError("IO", text, { file: path });
    }
    if (exists(path) && !isReplaced(path)) names.add(basename(path));
  }
  const isIndex = (name: string): boolean => name.endsWith(".json");
  return [...names].sort((a, b) => Number(isIndex(b)) - Number(isIndex(a)));
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function isSameFile(one: string, other: string): boolean {
  const [a, b] = [one, other].map((path) => lstatSync(path, { throwIfNoEntry: false }));
  return a !== undefined && a.ino === b?.ino && a.dev === b.dev;
}
