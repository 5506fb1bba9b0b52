import { join } from "node:path";
import { mergeMetadata } from "../../checkpoint/sharded.ts";
import type { ReadOptions } from "../../source/source.ts";
import { type SavedCheckpoint, saveCheckpoint } from "../write/save-checkpoint.ts";
import { type Defect, type ExaminedFile, examineFile } from "./examine-file.ts";
import { type DamagedSet, findSet } from "./file-set.ts";
import { type MergedTensors, mergeTensors } from "./merge.ts";

/** Options of `repairCheckpoint`. */
export interface RepairOptions extends ReadOptions {
  /** Where something is lost, write the tensors that are whole. */
  readonly salvage?: boolean | undefined;
  /** Called after every piece with the bytes of data written so far, and in all, and the name of the file. */
  readonly onProgress?: ((done: number, total: number, file: string) => void) | undefined;
}

/** What `repairCheckpoint` found and did. */
export interface RepairReport {
  /**
   * - `sound`: nothing is wrong; nothing was written
   * - `repaired`: all tensors are there, what was wrong is not in the output
   * - `salvaged`: some tensors are lost, the others are in the output
   * - `refused`: something cannot be repaired; nothing was written
   */
  readonly status: "sound" | "repaired" | "salvaged" | "refused";
  readonly repairable: readonly Defect[];
  /** What cannot be repaired. */
  readonly fatal: readonly Defect[];
  /** Names of the tensors that are lost, as far as they are known. */
  readonly lost: readonly string[];
  /** How many tensors are whole. */
  readonly tensors: number;
  /** What was written. */
  readonly saved?: SavedCheckpoint;
}

/**
 * Repairs what can be proved of a safetensors checkpoint, into a new place: bytes after the end are cut off, an index that
 * is missing or wrong is made anew from the headers of the files. Where data is missing or contradicts itself, nothing can
 * be repaired; with `salvage` the tensors that are whole are written then. The input is never changed.
 *
 * @param input a file, an index, or a folder.
 * @param output a path that ends in `.safetensors` is a file, any other a folder; undefined: only tell what would be done.
 * @throws `NOT_FOUND`, `AMBIGUOUS`, `IO`, every error of `saveCheckpoint`
 */
export async function repairCheckpoint(
  input: string,
  output: string | undefined,
  options: RepairOptions = {},
): Promise<RepairReport> {
  const set = await findSet(input);
  const files: ExaminedFile[] = [];
  try {
    for (const file of set.files) {
      options.signal?.throwIfAborted();
      files.push(await examineFile(join(set.folder, file), file));
    }
    const merged = await mergeTensors(files, set.index, { signal: options.signal });
    const report = judge(set, files, merged, options.salvage ?? false);
    const isWritten = output !== undefined && /repaired|salvaged/.test(report.status);
    return isWritten ? { ...report, saved: await write(set, files, merged, output, options) } : report;
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
}

function judge(
  set: DamagedSet,
  files: readonly ExaminedFile[],
  merged: MergedTensors,
  salvage: boolean,
): Omit<RepairReport, "saved"> {
  const all = [set, ...files, merged];
  const repairable = all.flatMap((part) => part.repairable);
  const fatal = all.flatMap((part) => part.fatal);
  const tensors = merged.tensors.size;
  const status =
    fatal.length > 0
      ? salvage && tensors > 0
        ? "salvaged"
        : "refused"
      : repairable.length > 0
        ? "repaired"
        : "sound";
  return { status, repairable, fatal, lost: merged.lost, tensors };
}

/** The new files hold what the old ones held. */
async function write(
  set: DamagedSet,
  files: readonly ExaminedFile[],
  { tensors }: MergedTensors,
  output: string,
  { signal, onProgress }: RepairOptions,
): Promise<SavedCheckpoint> {
  const inputs = Array.from(tensors, ([name, { tensor }]) => [name, tensor] as const);
  const groups = new Map<string, string[]>();
  for (const [name, { file }] of tensors) {
    const group = groups.get(file);
    if (group) group.push(name);
    else groups.set(file, [name]);
  }
  const inputFiles = [...set.files, ...(set.indexFile === undefined ? [] : [set.indexFile])];
  return saveCheckpoint(output, inputs, {
    metadata: mergeMetadata(files),
    split: () => [...groups.values()],
    stem: set.stem,
    keep: inputFiles.map((file) => join(set.folder, file)),
    signal,
    onProgress,
  });
}
