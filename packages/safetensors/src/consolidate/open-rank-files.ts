import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { openSafetensors } from "../checkpoint/safetensors.ts";
import { inFile } from "../errors.ts";
import { orClose } from "../source/or-close.ts";
import type { ReadOptions } from "../source/source.ts";
import type { FileStore } from "../source/store.ts";
import type { RankFile } from "./rank-files.ts";

/** Headers read at the same time. */
const HEADERS_IN_FLIGHT = 8;

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
  const opened: OpenedRankFile[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < files.length) {
      const place = next++;
      try {
        const one = files[place]!;
        opened[place] = {
          ...one,
          checkpoint: await inFile(one.file, () => openFile(store, one.file, options)),
        };
      } catch (error) {
        next = files.length;
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: HEADERS_IN_FLIGHT }, worker));
  const failed = results.find((result) => result.status === "rejected");
  if (!failed) return opened;
  await closeAll(opened.filter(Boolean));
  throw failed.reason;
}

/** Closes all after an error, which counts more than one of closing. */
export async function closeAll(files: readonly OpenedRankFile[]): Promise<void> {
  await Promise.allSettled(files.map(({ checkpoint }) => checkpoint.close()));
}

async function openFile(store: FileStore, file: string, options: ReadOptions): Promise<Checkpoint> {
  options.signal?.throwIfAborted();
  const source = await store.open(file, options);
  return orClose(source, () => openSafetensors(source, { signal: options.signal }));
}
