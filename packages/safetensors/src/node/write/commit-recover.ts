import { basename, dirname, join } from "node:path";
import { finishCommit, undoCommits } from "./commit-finish.ts";
import { followLinks } from "./file-sink.ts";
import { isOfCheckpoint } from "./litter.ts";

/** Where a checkpoint goes, and what else is of the same one there. */
export interface CheckpointPlace {
  /** The folder of the files, and those that links of their names lead to. */
  readonly folders: readonly string[];
  /** Tells by a name whether a file is of this checkpoint, however many files it has. */
  readonly isOfIt: (name: string) => boolean;
  /** Paths of the files of which killed saves said that they are the checkpoint here, or the one before it. */
  readonly before: readonly string[];
}

/**
 * Ends or undoes what killed processes began to do to a checkpoint. What cannot be ended is left: the checkpoint is whole
 * all the same, and the save that follows says what is wrong with the folder.
 *
 * @param files paths of the files of the new checkpoint.
 * @param indexes paths of its index, or of where one would be, and of others in the folder that it replaces.
 */
export async function recoverCheckpoint(
  files: readonly string[],
  indexes: readonly string[],
): Promise<CheckpointPlace> {
  const paths = [...files, ...indexes];
  const targets = await Promise.all(paths.map(followLinks));
  const isOfIt = isOfCheckpoint([...paths, ...targets].map((path) => basename(path)));
  const before: string[] = [];
  for (const index of indexes) {
    const old = await undoCommits(index, isOfIt).catch(() => []);
    const current = await finishCommit(index, isOfIt).catch(() => []);
    for (const name of [...old, ...current]) before.push(join(dirname(index), name));
  }
  return { folders: [...new Set([...paths, ...targets].map((path) => dirname(path)))], isOfIt, before };
}
