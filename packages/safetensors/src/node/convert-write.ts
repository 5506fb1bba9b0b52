import { mkdir, rmdir } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import type { TensorStream } from "../save/save.ts";
import { save } from "../save/save.ts";
import { encodeIndex } from "./convert-index.ts";
import { WrittenSums } from "./convert-verify.ts";
import { FileGroup } from "./file-group.ts";
import { ioError } from "./io-error.ts";

/** A file to write. */
export interface OutputFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorStream>;
  readonly metadata: ReadonlyMap<string, string>;
  /** Bytes of the tensors. */
  readonly dataLength: number;
}

/** An index to write beside the files. */
export interface OutputIndex {
  readonly path: string;
  /** Metadata besides `total_size`. */
  readonly metadata: Readonly<Record<string, unknown>> | undefined;
}

/** Options of `writeOutputs`. */
export interface WriteOptions {
  /** Check the input against its own checksums; read every new file again before it takes its place, and compare. */
  readonly verify?: boolean | undefined;
  /** Stops the writing; nothing is left of it. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every piece with the bytes of data written so far, and in all, and the name of the output file. */
  readonly onProgress?: ((done: number, total: number, file: string) => void) | undefined;
}

/** Writes files that belong together into a folder, which is made; they appear when all are complete, the index last. */
export async function writeOutputs(
  folder: string,
  files: readonly OutputFile[],
  index: OutputIndex | undefined,
  { verify, signal, onProgress }: WriteOptions,
): Promise<void> {
  const total = files.reduce((sum, { dataLength }) => sum + dataLength, 0);
  const created = await makeFolder(folder);
  const group = new FileGroup();
  try {
    let before = 0;
    for (const { path, tensors, metadata, dataLength } of files) {
      const sink = await group.add(path);
      const sums = verify ? new WrittenSums(tensors) : undefined;
      await save(sink, sums?.tensors ?? tensors, {
        metadata,
        signal,
        onProgress: (done) => onProgress?.(before + done, total, basename(path)),
      });
      await sums?.check(sink.temporary, path, signal);
      before += dataLength;
    }
    if (index) {
      const weightMap = files.flatMap(({ path, tensors }) =>
        Array.from(tensors.keys(), (name) => [name, basename(path)] as const),
      );
      const sink = await group.add(index.path);
      await sink.write(encodeIndex({ ...index.metadata, total_size: total }, new Map(weightMap)));
    }
    signal?.throwIfAborted();
    await group.commit();
  } catch (error) {
    await group.abort();
    await removeFolder(folder, created);
    throw error;
  }
}

/** Makes a folder, with those above it, and says which is the highest one that was not there. */
async function makeFolder(folder: string): Promise<string | undefined> {
  try {
    return await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw ioError(folder, "make", cause);
  }
}

/** Undoes `makeFolder`, as far as the folders are empty. */
async function removeFolder(folder: string, created: string | undefined): Promise<void> {
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
