import { realpathSync } from "node:fs";
import { readHeader } from "../../checkpoint/safetensors.ts";
import { inFile } from "../../errors.ts";
import { LENGTH_BYTES } from "../../format/header.ts";
import { type EditedHeader, editHeader, type HeaderChanges } from "../../save/edit.ts";
import { readExactly } from "../../source/read-into.ts";
import type { ReadOptions } from "../../source/source.ts";
import { type FileSource, openFile } from "../file-source.ts";
import { type Disk, realDisk } from "./disk.ts";
import { commitEdits } from "./edit-commit.ts";
import { copyWith } from "./edit-copy.ts";
import { journalOf } from "./journal-look.ts";
import type { FileEdit } from "./journal-write.ts";
import { rewriteOpened } from "./rewrite.ts";

/** Options of editing a file. */
export interface EditOptions extends ReadOptions {
  /** Where the edited file goes; the input stays as it is. Without it the file itself is edited. */
  readonly output?: string | undefined;
  /**
   * Bytes of room for later edits that a header gets when it is rewritten; 4096 unless said otherwise. If it is said, and
   * there is nothing else to change, a file with less room is rewritten.
   */
  readonly reserve?: number | undefined;
  /** Only check, and say what would be done. */
  readonly dryRun?: boolean | undefined;
  /** Called after every piece of data that is moved, with the bytes so far, and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What an edit has done. */
export interface EditResult {
  /** The file that was written. */
  readonly path: string;
  /**
   * `unchanged`: there was nothing to change. `in-place`: only the header, or some tensors, were written. `copied`: the data went
   * to the output as it lies. `rewritten`: a new file took the place.
   */
  readonly how: "unchanged" | "in-place" | "copied" | "rewritten";
  /** Bytes of the file. */
  readonly byteLength: number;
  /** Bytes that are left in the header for later edits. */
  readonly room: number;
}

/**
 * Changes the metadata of a safetensors file and the names of its tensors.
 *
 * If the new header fits into the room of the old one, only the header is written, and a run that dies while doing so leaves
 * a journal, with which the next one to open the file here finishes it (other programs may meanwhile see a header that is
 * partly written). If it does not fit, the file is written anew, tensors in canonical order, and takes the place of the
 * old one when it is complete. Links are followed, modes kept. In place, other names of the same file (hard links) see the
 * change; written anew, they keep the old file.
 *
 * @throws every error of `editHeader`; `NOT_FOUND`, `IO`, `SOURCE_CHANGED`, `HEADER_TOO_LARGE`
 */
export function editFile(
  path: string,
  changes: HeaderChanges,
  options: EditOptions = {},
): Promise<EditResult> {
  return editFileOn(realDisk, path, changes, options);
}

/** `editFile` on a disk of the caller. */
export async function editFileOn(
  disk: Disk,
  path: string,
  changes: HeaderChanges,
  options: EditOptions,
): Promise<EditResult> {
  const source = await openFile(path);
  try {
    return await inFile(path, () => editOpened(disk, path, source, changes, options));
  } finally {
    await source.close();
  }
}

async function editOpened(
  disk: Disk,
  path: string,
  source: FileSource,
  changes: HeaderChanges,
  options: EditOptions,
): Promise<EditResult> {
  const { output, reserve = 0, dryRun } = options;
  const isElsewhere = output !== undefined && !isSame(path, output);
  const { head, bytes, room } = await editHeaderOf(source, changes, options);
  const isAsBefore = !hasChanges(changes);
  const target = isElsewhere ? output : realpathSync(path);
  const done = (how: EditResult["how"]): EditResult => ({ path: target, how, byteLength: source.size, room });
  if (!bytes || (room < reserve && (isAsBefore || isElsewhere))) {
    return rewriteOpened(source, target, changes, options);
  }
  if (isElsewhere) {
    if (!dryRun) await copyWith(head, bytes, source, target, options);
    return done("copied");
  }
  if (isAsBefore) return done("unchanged");
  if (!dryRun) await commitEdits(disk, journalOf(target), [headerEdit(target, head, bytes)], options);
  return done("in-place");
}

/** The header of a file as it is, with its length, and after changes. */
export async function editHeaderOf(
  source: FileSource,
  changes: HeaderChanges,
  options: ReadOptions,
): Promise<EditedHeader & { readonly head: Uint8Array }> {
  // Says what a file is that is no safetensors file.
  const { byteLength } = await readHeader(source, options);
  const head = await readExactly(source, 0, byteLength, options);
  return { head, ...editHeader(head.subarray(LENGTH_BYTES), source.size - byteLength, changes) };
}

/** The edit that puts a header in the place of another one. */
export function headerEdit(path: string, head: Uint8Array, bytes: Uint8Array): FileEdit {
  return { path, head, parts: [{ begin: 0, end: bytes.length, chunks: () => [bytes] }] };
}

/** Whether anything is asked for. */
export function hasChanges({ setMetadata = {}, removeMetadata = [], rename }: HeaderChanges): boolean {
  const set = setMetadata instanceof Map ? setMetadata.size : Object.keys(setMetadata).length;
  return set > 0 || [...removeMetadata].length > 0 || (rename?.size ?? 0) > 0;
}

function isSame(path: string, output: string): boolean {
  try {
    return realpathSync(path) === realpathSync(output);
  } catch {
    return false;
  }
}
