import { join } from "node:path";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { type OpenOptions, open } from "../checkpoint/open.ts";
import { joinShards } from "../checkpoint/sharded.ts";
import { inFile } from "../errors.ts";
import { torchReader } from "../torch/index.ts";
import { type FileOptions, openFile } from "./file-source.ts";
import { locateCheckpoint } from "./locate.ts";

/** Headers read at the same time. */
const HEADERS_IN_FLIGHT = 8;

/** Options of `openPath`. */
export interface PathOptions extends OpenOptions, FileOptions {}

/**
 * Opens a checkpoint: a safetensors or PyTorch file, a folder, or an index; several files come as one checkpoint. Only
 * headers are read. Close it when done (`await using` does).
 *
 * @throws every error of `locateCheckpoint`, `open` and `joinShards`; errors of one of several files name it
 */
export async function openPath(path: string, options: PathOptions = {}): Promise<Checkpoint> {
  const { folder, files, index } = await locateCheckpoint(path);
  if (!index && files.length === 1) return openWeights(join(folder, files[0]!), options);
  const shards = await openShards(folder, files, options);
  try {
    return joinShards(shards, index?.weightMap, options.mode);
  } catch (error) {
    await closeAll(shards);
    throw error;
  }
}

/** Opens one file of weights, safetensors or PyTorch. */
export async function openWeights(path: string, options: PathOptions = {}): Promise<Checkpoint> {
  const source = await openFile(path, options);
  try {
    return await open(source, { ...options, readers: options.readers ?? [torchReader] });
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function openShards(
  folder: string,
  files: readonly string[],
  options: PathOptions,
): Promise<Map<string, Checkpoint>> {
  const opened = new Map<string, Checkpoint>();
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < files.length) {
      const file = files[next++]!;
      opened.set(file, await inFile(file, () => openWeights(join(folder, file), options)));
    }
  };
  const results = await Promise.allSettled(Array.from({ length: HEADERS_IN_FLIGHT }, worker));
  const failed = results.find((result) => result.status === "rejected");
  if (failed) {
    await closeAll(opened);
    throw failed.reason;
  }
  return new Map(files.map((file) => [file, opened.get(file)!]));
}

async function closeAll(shards: ReadonlyMap<string, Checkpoint>): Promise<void> {
  await Promise.all([...shards.values()].map((shard) => shard.close()));
}
