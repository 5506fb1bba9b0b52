import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { SafetensorsError } from "../../errors.ts";
import { MAX_SHARDS } from "../../limits.ts";
import { checkTargets } from "../convert/names.ts";
import { layOutCheckpoint } from "../write/checkpoint-layout.ts";
import type { SaveCheckpointOptions, SavedCheckpoint } from "../write/save-checkpoint.ts";
import { writeOutputs } from "../write/write-outputs.ts";

/** Options of `saveShares`. */
export interface SaveSharesOptions
  extends Pick<
    SaveCheckpointOptions,
    "maxShardSize" | "reserve" | "dryRun" | "keep" | "verify" | "signal" | "onProgress" | "resume"
  > {
  /** These are all ranks: files of others that are in the folder are removed when the new ones are in place. */
  readonly areAll?: boolean | undefined;
}

/** The files of a rank: its number, then that of the part. */
const NAME = /^model-rank-(\d+)-part-\d+\.safetensors$/;

/**
 * Writes what each rank has of a checkpoint into one folder: `model-rank-0-part-0.safetensors`, the names of vLLM's sharded
 * state, by which a process finds its own files without an index. With `maxShardSize` (no limit if not given) a rank has
 * several parts. The files appear when all are complete, and what is left of an earlier save of the same ranks is removed.
 *
 * @param shares by rank: see `shareCheckpoint`
 * @throws what `saveCheckpoint` throws; `LIMIT_EXCEEDED` for more files than can be read back
 */
export async function saveShares(
  folder: string,
  shares: ReadonlyMap<number, Checkpoint>,
  options: SaveSharesOptions = {},
): Promise<SavedCheckpoint> {
  const { maxShardSize = Number.POSITIVE_INFINITY, reserve, areAll = false, keep = [] } = options;
  const layouts = Array.from(shares, ([rank, share]) => {
    const { files, aliases } = layOutCheckpoint(folder, share, { maxShardSize, reserve });
    const named = files.map((file, part) => {
      return { ...file, path: join(folder, `model-rank-${rank}-part-${part}.safetensors`) };
    });
    return { files: named, aliases };
  });
  const files = layouts.flatMap(({ files }) => files);
  if (files.length > MAX_SHARDS) {
    const text = `the ranks would have ${files.length} files, of which at most ${MAX_SHARDS} can be read back`;
    throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_SHARDS" });
  }
  const paths = files.map(({ path }) => path);
  const removed = await filesBefore(folder, new Set(paths), (rank) => areAll || shares.has(rank));
  await checkTargets(keep, [...paths, ...removed]);
  const { reused } = options.dryRun ? { reused: [] } : await writeOutputs(folder, files, undefined, options);
  // Only now: what is left of an earlier save by a killed process does not fit to the new files, and is seen not to.
  if (!options.dryRun) for (const path of removed) await rm(path, { force: true });
  return {
    files: files.map(({ path, byteLength, tensors, dataLength }) => {
      return { path, byteLength, tensors: tensors.size, dataLength };
    }),
    aliases: new Map(layouts.flatMap(({ aliases }) => [...aliases])),
    removed,
    reused,
  };
}

/** Files of these ranks that are in the folder and not written anew. */
async function filesBefore(
  folder: string,
  targets: ReadonlySet<string>,
  isMeant: (rank: number) => boolean,
): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names
    .filter((name) => {
      const rank = NAME.exec(name)?.[1];
      return rank !== undefined && isMeant(Number(rank)) && !targets.has(join(folder, name));
    })
    .map((name) => join(folder, name))
    .sort();
}
