import { join } from "node:path";
import { type Checkpoint, joinShards, type ReadMode, SafetensorsError } from "safetensors.js";
import { type CheckpointFiles, locateCheckpoint, openWeights } from "safetensors.js/node";
import { openTorch, torchReader } from "safetensors.js/torch";

/** A checkpoint with its files still apart: what lies where can be told. */
export interface OpenedFiles extends AsyncDisposable {
  readonly location: CheckpointFiles;
  /** The opened files, in order. */
  readonly shards: ReadonlyMap<string, Checkpoint>;
  /** All of them as one. */
  readonly whole: Checkpoint;
}

/**
 * Opens what `path` leads to: a file, a folder or an index. Errors of one of several files name it.
 *
 * @param key where the tensors are in PyTorch files; found by itself if undefined.
 */
export async function openFiles(path: string, mode: ReadMode, key?: string): Promise<OpenedFiles> {
  const location = await locateCheckpoint(path);
  const { folder, files, index } = location;
  const shards = new Map<string, Checkpoint>();
  const close = async (): Promise<void> => {
    for (const shard of shards.values()) await shard.close();
  };
  const open = (file: string): Promise<Checkpoint> =>
    openWeights(join(folder, file), {
      mode,
      blocking: true,
      readers: [{ ...torchReader, open: (source, options) => openTorch(source, { ...options, key }) }],
    });
  try {
    for (const file of files) {
      try {
        shards.set(file, await open(file));
      } catch (error) {
        throw files.length > 1 && error instanceof SafetensorsError ? error.inFile(file) : error;
      }
    }
    const whole =
      index || files.length > 1 ? joinShards(shards, index?.weightMap, mode) : shards.get(files[0]!)!;
    return { location, shards, whole, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}
