import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { openAll } from "../checkpoint/open-all.ts";
import { openSafetensors } from "../checkpoint/safetensors.ts";
import { inFile } from "../errors.ts";
import { orClose } from "../source/or-close.ts";
import type { ReadOptions } from "../source/source.ts";
import type { FileStore } from "../source/store.ts";
import type { RankFile } from "./rank-files.ts";

/** A file of a rank, its header read. */
export interface OpenedRankFile extends RankFile {
  readonly checkpoint: Checkpoint;
}

/** Opens all files, several at a time, in the order given. After an error the opened ones are closed. */
export async function openRankFiles(
  store: FileStore,
  files: readonly RankFile[],
  options: ReadOptions,
): Promise<OpenedRankFile[]> {
  return openAll(files, async (one) => ({
    ...one,
    checkpoint: await inFile(one.file, () => openFile(store, one.file, options)),
  }));
}

async function openFile(store: FileStore, file: string, options: ReadOptions): Promise<Checkpoint> {
  options.signal?.throwIfAborted();
  const source = await store.open(file, options);
  return orClose(source, () => openSafetensors(source, { signal: options.signal }));
}
