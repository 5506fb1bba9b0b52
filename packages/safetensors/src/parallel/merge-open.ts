import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { openAll } from "../checkpoint/open-all.ts";
import { openStore } from "../checkpoint/open-store.ts";
import { findRankFiles } from "../consolidate/rank-files.ts";
import { SafetensorsError } from "../errors.ts";
import { MAX_SHARDS } from "../limits.ts";
import type { ReadOptions } from "../source/source.ts";
import type { FileStore } from "../source/store.ts";
import type { RankFile } from "./merge-files.ts";

/** A file of a rank in a store, before it is opened; without a name, the checkpoint of the store as a whole. */
interface Place {
  readonly file?: string | undefined;
  readonly rank?: number;
}

/** The names that `saveShares` gives, which are those of vLLM's sharded state. */
const OWN_NAME = /^model-rank-(\d+)-part-\d+\.safetensors$/;

/**
 * Opens the files of ranks in a store: those with the rank in their names, several for a rank or one; without such, the
 * checkpoint in it, which is then of one rank. Only headers are read.
 *
 * @param file the only one to open
 * @throws errors of `openStore` and of names that do not fit together; `UNSUPPORTED` for files of PyTorch's distributed
 *   checkpoint, which `openRanks` reads
 */
export async function openRankFiles(
  store: FileStore,
  { file, signal }: ReadOptions & { readonly file?: string | undefined } = {},
): Promise<RankFile[]> {
  const places = file === undefined ? await placesIn(store, { signal }) : [{ file }];
  if (places.length > MAX_SHARDS) {
    const text = `${store.name} holds ${places.length} files of ranks, at most ${MAX_SHARDS} are allowed`;
    throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_SHARDS" });
  }
  return openAll<Place, RankFile & { readonly checkpoint: Checkpoint }>(places, async ({ file, rank }) => {
    const checkpoint = await openStore(store, { file, signal });
    return { file: file ?? store.name, checkpoint, rank };
  });
}

async function placesIn(store: FileStore, options: ReadOptions): Promise<Place[]> {
  const names = store.list ? await store.list(options) : [];
  // What has an index is one checkpoint, however its files are named.
  if (names.some((name) => /\.safetensors\.index\.json$/.test(name))) return [{}];
  const own = names.flatMap((file) => {
    const match = OWN_NAME.exec(file);
    return match ? [{ file, rank: Number(match[1]) }] : [];
  });
  if (own.length > 0) return own.sort((a, b) => a.rank - b.rank || (a.file < b.file ? -1 : 1));
  const found = findRankFiles(names, store.name);
  if (!found) return [{}];
  if (found.kind === "dcp") {
    const text = `${store.name} holds files of PyTorch's distributed checkpoint, which say themselves where their tensors belong: use consolidate`;
    throw new SafetensorsError("UNSUPPORTED", text, { file: store.name });
  }
  const [{ rank: first } = { rank: 0 }] = found.files;
  return found.files.map(({ file, rank }) => ({ file, rank: rank - first }));
}

/**
 * The numbers of ranks in names of files or folders, such as `rank-3`, `tp_rank_03` or `model3-mp8.safetensors`: the last
 * number that is not how many there are. Nothing, unless they are all numbers from 0, or from 1, once each.
 */
export function rankNumbers(names: readonly string[]): number[] | undefined {
  const found = names.map((name) => {
    const bare = name.replace(/\.\w+$/, "").replace(/-(?:mp|of-)\d+$/, "");
    return /(\d+)\D*$/.exec(bare)?.[1];
  });
  if (found.length === 0 || found.includes(undefined)) return undefined;
  const numbers = found.map(Number);
  const least = numbers.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const isRun =
    new Set(numbers).size === numbers.length &&
    numbers.reduce((a, b) => Math.max(a, b), 0) - least === numbers.length - 1;
  return isRun && least <= 1 ? numbers.map((number) => number - least) : undefined;
}
