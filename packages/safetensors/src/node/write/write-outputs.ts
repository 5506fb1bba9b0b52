import { createHash } from "node:crypto";
import { mkdir, rmdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { crc32 } from "node:zlib";
import { encodeHeader } from "../../format/encode.ts";
import type { TensorStream } from "../../save/save.ts";
import { save } from "../../save/save.ts";
import type { Sink } from "../../save/sink.ts";
import { readBack } from "../convert/verify.ts";
import { ioError } from "../io-error.ts";
import { commitCheckpoint, namesToRetire } from "./commit.ts";
import { type CheckpointPlace, recoverCheckpoint } from "./commit-recover.ts";
import { FileGroup, type PreparedFile } from "./file-group.ts";
import { flushFolder } from "./file-sink.ts";
import { removeLitter, withoutNumbers } from "./litter.ts";
import { adoptPart, findParts, forgetPart, recordPart, releasePart, sha256 } from "./resume.ts";

/** A file to write. */
export interface OutputFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorStream>;
  readonly metadata: ReadonlyMap<string, string> | undefined;
  /** Bytes of room in the header for later edits; none unless said otherwise. */
  readonly reserve?: number | undefined;
  /** Bytes of the tensors. */
  readonly dataLength: number;
}

/** An index to write beside the files. */
export interface OutputIndex {
  readonly path: string;
  /** Metadata besides `total_size`. */
  readonly metadata: Readonly<Record<string, unknown>> | undefined;
}

/** Options of writing files that belong together. */
export interface WriteOptions {
  /**
   * Read every new file again before it takes its place, and compare. A conversion also compares those parts of the input
   * with their checksums that are not compared while they are copied: see `save`.
   */
  readonly verify?: boolean | undefined;
  /** Stops the writing; nothing is left of it, except what `resume` keeps. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every piece with the bytes of data written so far, and in all, and the name of the output file. */
  readonly onProgress?: ((done: number, total: number, file: string) => void) | undefined;
  /**
   * Says what the input is, so that it is another text if the input is another one. Files that are complete when the
   * writing is interrupted are kept then, hidden, and the next time with the same text not written again if they still
   * hold what was written. Anything else that is left of them is removed.
   */
  readonly resume?: string | undefined;
}

/** Options of `writeOutputs`. */
export interface OutputOptions extends WriteOptions {
  /** Paths of files in the folder, of the checkpoint that is replaced; they are removed when the new one is in place. */
  readonly retire?: readonly string[] | undefined;
}

/** What `writeOutputs` did. */
export interface WrittenOutputs {
  /** Paths of files that an interrupted save had left complete, so that they were not written again. */
  readonly reused: readonly string[];
}

/**
 * Writes files that belong together into a folder, which is made. They appear when all are complete, as one: see
 * `commitCheckpoint`. What killed processes left of such files is finished or removed first.
 *
 * @throws errors of the input; `IO`, also for a path to retire that is not in the folder
 */
export async function writeOutputs(
  folder: string,
  files: readonly OutputFile[],
  index: OutputIndex | undefined,
  options: OutputOptions,
): Promise<WrittenOutputs> {
  const { signal, resume, retire = [] } = options;
  const total = files.reduce((sum, { dataLength }) => sum + dataLength, 0);
  const indexPath = index?.path ?? passingIndex(folder, files, retire);
  const targets = [...files.map(({ path }) => path), ...(index ? [index.path] : [])];
  namesToRetire(folder, retire, targets);
  const created = await makeFolder(folder);
  const group = new FileGroup();
  /** Files that are complete and have a record. */
  const complete = new Map<string, PreparedFile>();
  const reused: string[] = [];
  try {
    const indexes = [indexPath, ...retire.filter((path) => path.endsWith(".json") && path !== indexPath)];
    const place = await recoverCheckpoint(
      files.map(({ path }) => path),
      indexes,
    );
    if (resume !== undefined) {
      for await (const file of adoptParts(files, place, sha256(resume), signal)) {
        complete.set(file.path, file);
        reused.push(file.path);
        group.adopt(file);
      }
    }
    for (const one of place.folders) await removeLitter(one, place.isOfIt);
    let before = 0;
    for (const file of files) {
      const { path, dataLength } = file;
      const onProgress = (done: number): void => options.onProgress?.(before + done, total, basename(path));
      if (complete.has(path)) onProgress(dataLength);
      else {
        const temporary = await writeFile(file, group, { ...options, onProgress });
        if (resume !== undefined) complete.set(path, { path, temporary });
      }
      before += dataLength;
    }
    signal?.throwIfAborted();
    // Whoever names what is to be removed does not know what a killed save has put there.
    const drop = options.retire ? namesToRetire(folder, [...retire, ...place.before], targets) : [];
    if (index === undefined && drop.length === 0) await group.commit();
    else {
      await commitCheckpoint({
        files: group.prepare(),
        weightMap: weightMapOf(files),
        metadata: { ...index?.metadata, total_size: total },
        index: indexPath,
        keepIndex: index !== undefined,
        retire: drop,
      });
    }
    if (created !== undefined) flushFolder(dirname(created));
    for (const { temporary } of complete.values()) await forgetPart(temporary);
    return { reused };
  } catch (error) {
    for (const file of complete.values()) {
      await releasePart(file).catch(() => forgetPart(file.temporary));
    }
    await group.abort();
    await removeFolder(folder, created);
    throw error;
  }
}

/** Where an index goes that is needed only while an old checkpoint is replaced. */
function passingIndex(folder: string, files: readonly OutputFile[], retire: readonly string[]): string {
  const old = retire.find((path) => path.endsWith(".json"));
  const name = withoutNumbers(basename(files[0]?.path ?? "model.safetensors"));
  return old ?? join(folder, `${name}.index.json`);
}

function weightMapOf(files: readonly OutputFile[]): Map<string, string> {
  const weightMap = new Map<string, string>();
  for (const { path, tensors } of files) {
    for (const name of tensors.keys()) weightMap.set(name, basename(path));
  }
  return weightMap;
}

/** Writes one file up to its last byte, and returns where it is until it takes its place. */
async function writeFile(
  file: OutputFile,
  group: FileGroup,
  options: WriteOptions & { readonly onProgress: (done: number) => void },
): Promise<string> {
  const { verify, signal, resume, onProgress } = options;
  const { path, tensors, metadata, reserve } = file;
  const sink = await group.add(path);
  const sums = new Map<string, number>();
  const onChecksum = verify ? (name: string, sum: number) => void sums.set(name, sum) : undefined;
  const hash = resume === undefined ? undefined : createHash("sha256");
  let size = 0;
  const listening: Sink = {
    write(bytes) {
      hash?.update(bytes);
      size += bytes.length;
      return sink.write(bytes);
    },
    commit: sink.commit,
    abort: sink.abort,
  };
  // A hash needs the bytes in order, and here.
  const saving = { metadata, reserve, signal, onProgress, crc32, onChecksum };
  await save(hash ? listening : sink, tensors, saving);
  if (verify) await readBack(sink.temporary, path, sums, signal);
  if (resume !== undefined && hash) {
    const record = { identity: sha256(resume), header: headerOf(file), size };
    await recordPart(sink.temporary, { ...record, sha256: hash.digest("hex") });
  }
  return sink.temporary;
}

/** What tells files of different content apart before they are written. */
function headerOf({ tensors, metadata, reserve }: OutputFile): string {
  return sha256(encodeHeader(tensors, { metadata, reserve }).bytes);
}

/** Takes over the files that an interrupted save of the same input left complete. */
async function* adoptParts(
  files: readonly OutputFile[],
  { folders, isOfIt }: CheckpointPlace,
  identity: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<PreparedFile, void, undefined> {
  const wanted = new Map(files.map((file) => [headerOf(file), file.path]));
  for (const folder of folders) {
    for (const part of await findParts(folder, isOfIt, identity)) {
      const path = wanted.get(part.header);
      const file = path === undefined ? undefined : await adoptPart(part, path, signal);
      if (!file) continue;
      wanted.delete(part.header);
      yield file;
    }
  }
}

/** Makes a folder, with those above it, and says which is the highest one that was not there. */
export async function makeFolder(folder: string): Promise<string | undefined> {
  try {
    return await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw ioError(folder, "make", cause);
  }
}

/** Undoes `makeFolder`, as far as the folders are empty. */
export async function removeFolder(folder: string, created: string | undefined): Promise<void> {
  if (created === undefined) return;
  try {
    for (let path = resolve(folder); ; path = dirname(path)) {
      await rmdir(path);
      if (path === resolve(created)) return;
    }
  } catch {
    // Somebody else has put something there meanwhile.
  }
}
