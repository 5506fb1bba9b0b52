import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import type { SaveInputs } from "../../save/save.ts";
import { checkFolderOf, checkTargets } from "../convert/names.ts";
import {
  type CheckpointLayout,
  isFilePath,
  type LayoutOptions,
  layOutCheckpoint,
} from "./checkpoint-layout.ts";
import { type WriteOptions, writeOutputs } from "./write-outputs.ts";

/** Options of `saveCheckpoint`. */
export interface SaveCheckpointOptions extends LayoutOptions, WriteOptions {
  /** Says what would be written, and writes nothing. */
  readonly dryRun?: boolean | undefined;
  /** Paths of files that must stay: an output that would replace or remove one is refused. */
  readonly keep?: readonly string[] | undefined;
}

/** A file that was written. */
export interface SavedFile {
  readonly path: string;
  readonly byteLength: number;
  /** Number of tensors, and bytes of their data. */
  readonly tensors: number;
  readonly dataLength: number;
}

/** What `saveCheckpoint` wrote. */
export interface SavedCheckpoint {
  readonly files: readonly SavedFile[];
  /** Path of the index, if there are several files. */
  readonly index?: string;
  /** Names without data of their own, each with the one whose data they share. The metadata says so. */
  readonly aliases: ReadonlyMap<string, string>;
  /** Paths of files of the checkpoint that was there before, which are gone. */
  readonly removed: readonly string[];
  /** Paths of files that an interrupted run had written already. */
  readonly reused: readonly string[];
}

/**
 * Writes tensors into one file, or into a folder: split into files as huggingface_hub splits them, with an index. Data is
 * copied piece by piece, so that memory does not grow with the checkpoint; names for the same data are stored once.
 *
 * All is checked before anything is written. The new files take their places when all are complete, the index last; then
 * what else there is of a checkpoint with the same stem is removed. An error, or the signal, leaves everything as it was.
 *
 * @param output a path that ends in `.safetensors` is a file; any other is a folder, which is made.
 * @throws what `layOutCheckpoint` throws; `NOT_FOUND` without a folder for a file; errors of the input; `IO`
 */
export async function saveCheckpoint(
  output: string,
  tensors: SaveInputs | Checkpoint,
  options: SaveCheckpointOptions = {},
): Promise<SavedCheckpoint> {
  const layout = layOutCheckpoint(output, tensors, options);
  if (isFilePath(output)) await checkFolderOf(output);
  const { folder, files, index, aliases } = layout;
  const removed = isFilePath(output) ? [] : await filesBefore(layout, options.stem ?? "model");
  const targets = [...files.map(({ path }) => path), ...(index ? [index.path] : [])];
  await checkTargets(options.keep ?? [], [...targets, ...removed]);
  const { reused } = options.dryRun
    ? { reused: [] }
    : await writeOutputs(folder, files, index, { ...options, retire: removed });
  return {
    files: files.map(({ path, byteLength, tensors: { size }, dataLength }) => {
      return { path, byteLength, tensors: size, dataLength };
    }),
    ...(index && { index: index.path }),
    aliases,
    removed,
    reused,
  };
}

/** Files of a checkpoint with this stem that are in the folder and not written anew. */
async function filesBefore({ folder, files, index }: CheckpointLayout, stem: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  const targets = new Set([...files.map(({ path }) => path), index?.path]);
  const { length } = stem;
  const isOfIt = (name: string): boolean =>
    name.startsWith(stem) &&
    /^(-\d{5,6}-of-\d{5,6})?\.safetensors$|^\.safetensors\.index\.json$/.test(name.slice(length));
  return names
    .filter(isOfIt)
    .map((name) => join(folder, name))
    .filter((path) => !targets.has(path))
    .sort();
}
