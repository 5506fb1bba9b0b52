import { chmodSync, existsSync, readdirSync, readFileSync, realpathSync, rmSync, statSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { readHeader } from "../../checkpoint/safetensors.ts";
import { inFile, quote, SafetensorsError } from "../../errors.ts";
import { checkRenames, type HeaderChanges } from "../../save/edit.ts";
import { renameInIndex } from "../../save/edit-index.ts";
import type { ReadOptions } from "../../source/source.ts";
import { openFile } from "../file-source.ts";
import { ioError } from "../io-error.ts";
import { type CheckpointFiles, locateCheckpoint } from "../locate.ts";
import { writeSmallFile } from "../small-file.ts";
import { WRITER_PATTERN, writerState, writerTag } from "../write/litter-writer.ts";
import { type Disk, realDisk } from "./disk.ts";
import { commitEdits, journalFor } from "./edit-commit.ts";
import {
  type EditOptions,
  type EditResult,
  editFileOn,
  editHeaderOf,
  hasChanges,
  headerEdit,
} from "./edit-file.ts";
import type { FileEdit } from "./journal-write.ts";
import { rewriteOpened } from "./rewrite.ts";

/** Names of files that are to take the place of others: see `nextFor`. */
const NEXT = new RegExp(`^\\.(.+)\\.${WRITER_PATTERN}\\.next$`, "s");

/** What an edit of a checkpoint has done. */
export interface CheckpointEditResult {
  /** What was done to each of its files, in order. */
  readonly files: readonly EditResult[];
  /** Path of the index, if it was changed. */
  readonly index?: string;
}

/**
 * Changes the metadata of all files of a checkpoint, and the names of tensors, in its files and its index. What is in one
 * file is edited as `editFile` does.
 *
 * Several files change as one: headers that do not fit are written into new files beside the old ones, and all the rest goes
 * into one journal, `.safetensors-edit.journal` in the folder. From then on the edit is certain: a run that dies is gone on
 * with by the next one that opens any of the files here. Other programs that read the folder in that moment (milliseconds,
 * for headers that fit) may find some of the files changed and some not.
 *
 * @param path a file, an index, or a folder.
 * @throws every error of `editFile` and `locateCheckpoint`; `INVALID_NAME` for metadata to remove that no file has;
 *   `DUPLICATE_NAME` for a name that another file has; `UNSUPPORTED` if links lead to files in several folders, or to
 *   rename tensors in one file of several
 */
export function editCheckpoint(
  path: string,
  changes: HeaderChanges,
  options: Omit<EditOptions, "output"> = {},
): Promise<CheckpointEditResult> {
  return editCheckpointOn(realDisk, path, changes, options);
}

/** `editCheckpoint` on a disk of the caller. */
export async function editCheckpointOn(
  disk: Disk,
  path: string,
  changes: HeaderChanges,
  options: Omit<EditOptions, "output">,
): Promise<CheckpointEditResult> {
  const located = await locateCheckpoint(path, "safetensors");
  const { folder, files, index } = located;
  if (files.length === 1 && !index) {
    if (changes.rename?.size) checkNotShard(folder, files[0]!);
    return { files: [await editFileOn(disk, join(folder, files[0]!), changes, options)] };
  }
  const targets = realFiles(located);
  const journal = journalFor(targets);
  const perFile = await changesPerFile(targets.slice(0, files.length), changes, options);
  if (!options.dryRun) await removeOldNext(targets, journal);
  const edits: FileEdit[] = [];
  const results: EditResult[] = [];
  try {
    for (const [number, own] of perFile.entries()) {
      const { result, edit } = await prepare(targets[number]!, own, options);
      results.push(result);
      if (edit) edits.push(edit);
    }
    const changedIndex = changes.rename?.size ? targets[files.length] : undefined;
    if (changedIndex !== undefined && !options.dryRun) {
      edits.push(await indexEdit(changedIndex, changes.rename!));
    }
    if (edits.length > 0) await commitEdits(disk, journal, edits, options);
    return { files: results, ...(changedIndex !== undefined && { index: changedIndex }) };
  } catch (error) {
    // Once the journal is there, the new files are needed to finish the edit.
    if (!existsSync(journal)) for (const { path, next } of edits) removeNext(path, next);
    throw error;
  }
}

/** An index that names a file must not be left behind with the old names. */
function checkNotShard(folder: string, file: string): void {
  if (!/-\d{5,6}-of-\d{5,6}\./.test(file)) return;
  const index = readdirSync(folder).find((name) => /\.index(\..+)?\.json$/.test(name));
  if (index === undefined) return;
  const text = `${file} is one file of a checkpoint, whose index would no longer be right; name ${index} or the folder`;
  throw new SafetensorsError("UNSUPPORTED", text, { file: join(folder, file) });
}

/** The files of the checkpoint, and its index last, without links. */
function realFiles({ folder, files, index }: CheckpointFiles): string[] {
  const paths = [...files, ...(index ? [index.file] : [])].map((file) => realpathSync(join(folder, file)));
  const other = paths.find((path) => dirname(path) !== dirname(paths[0]!));
  if (other === undefined) return paths;
  const text = `the files of ${folder} lie in several folders, such as ${other}, and cannot be edited as one`;
  throw new SafetensorsError("UNSUPPORTED", text, { file: other });
}

/** What the changes mean for each file. */
async function changesPerFile(
  paths: readonly string[],
  changes: HeaderChanges,
  options: ReadOptions,
): Promise<HeaderChanges[]> {
  const owners = new Map<string, number>();
  const keys: ReadonlySet<string>[] = [];
  for (const [number, path] of paths.entries()) {
    const { names, metadata } = await inFile(path, () => headerOf(path, options));
    keys.push(new Set(metadata.keys()));
    for (const name of names) {
      const other = owners.get(name);
      if (other !== undefined) {
        const text = `tensor ${quote(name)} is in both ${paths[other]} and ${path}`;
        throw new SafetensorsError("DUPLICATE_NAME", text, { tensor: name, file: path });
      }
      owners.set(name, number);
    }
  }
  const { setMetadata, removeMetadata = [], rename = new Map<string, string>() } = changes;
  checkRenames(rename, (name) => owners.has(name));
  for (const key of removeMetadata) {
    if (keys.some((own) => own.has(key))) continue;
    const text = `metadata ${quote(key)} cannot be removed: no file has that key`;
    throw new SafetensorsError("INVALID_NAME", text);
  }
  const renames = paths.map(() => new Map<string, string>());
  for (const [from, to] of rename) renames[owners.get(from)!]!.set(from, to);
  return renames.map((own, number) => {
    const removed = [...removeMetadata].filter((key) => keys[number]!.has(key));
    return { setMetadata, removeMetadata: removed, rename: own };
  });
}

async function headerOf(
  path: string,
  options: ReadOptions,
): Promise<{ names: readonly string[]; metadata: ReadonlyMap<string, string> }> {
  const source = await openFile(path);
  try {
    const header = await readHeader(source, options);
    return { names: header.names(), metadata: header.metadata };
  } finally {
    await source.close();
  }
}

/** Decides how one file is edited; if its header does not fit, the new file is written beside it. */
async function prepare(
  path: string,
  changes: HeaderChanges,
  options: Omit<EditOptions, "output">,
): Promise<{ result: EditResult; edit?: FileEdit }> {
  const source = await openFile(path);
  try {
    const { mtimeNs: modified } = statSync(path, { bigint: true });
    const { head, bytes, room } = await editHeaderOf(source, changes, options);
    const isAsBefore = !hasChanges(changes);
    const result = { path, byteLength: source.size, room };
    if (isAsBefore && room >= (options.reserve ?? 0)) return { result: { ...result, how: "unchanged" } };
    if (bytes && !isAsBefore) {
      const inPlace = { ...result, how: "in-place" } as const;
      return options.dryRun ? { result: inPlace } : { result: inPlace, edit: headerEdit(path, head, bytes) };
    }
    const next = nextFor(path);
    const written = await rewriteOpened(source, next, changes, options);
    const rewritten = { ...written, path };
    if (options.dryRun) return { result: rewritten };
    keepMode(path, next);
    return { result: rewritten, edit: { path, head, next: basename(next), modified } };
  } finally {
    await source.close();
  }
}

async function indexEdit(path: string, rename: ReadonlyMap<string, string>): Promise<FileEdit> {
  const head = readFileSync(path);
  const next = nextFor(path);
  await writeSmallFile(next, renameInIndex(head, rename));
  keepMode(path, next);
  return { path, head, next: basename(next) };
}

/** Gives the file that is to take a place the mode of the one that has it; if that fails, the new file goes. */
function keepMode(path: string, next: string): void {
  try {
    chmodSync(next, statSync(path).mode & 0o7777);
  } catch (cause) {
    rmSync(next, { force: true });
    throw ioError(path, "edit", cause);
  }
}

/** Where a file is until it takes the place of another one: beside it, under a name that says who has written it. */
function nextFor(path: string): string {
  return join(dirname(path), `.${basename(path)}.${writerTag()}.next`);
}

function removeNext(path: string, next: string | undefined): void {
  if (next !== undefined) rmSync(join(dirname(path), next), { force: true });
}

/** Removes such files whose writers are gone, unless a journal still needs them. */
async function removeOldNext(paths: readonly string[], journal: string): Promise<void> {
  const names = new Set(paths.map((path) => basename(path)));
  const folder = dirname(journal);
  for (const name of await readdir(folder)) {
    const [, target, ...writer] = NEXT.exec(name) ?? [];
    if (target === undefined || !names.has(target)) continue;
    const path = join(folder, name);
    const isGone = writerState(writer, statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) === "gone";
    if (isGone && !existsSync(journal)) rmSync(path, { force: true });
  }
}
