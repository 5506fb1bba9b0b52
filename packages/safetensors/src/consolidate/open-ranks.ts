import { Checkpoint } from "../checkpoint/checkpoint.ts";
import { closeAll } from "../checkpoint/open-all.ts";
import { checkShardFileName } from "../checkpoint/shard-index.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { MAX_SHARDS } from "../limits.ts";
import type { ReadOptions } from "../source/source.ts";
import type { FileStore } from "../source/store.ts";
import { byteLength } from "../view/view.ts";
import { CutMap, type CutRules, patternFor } from "./cuts.ts";
import { findDifferent } from "./find-different.ts";
import { differs } from "./join-ranks.ts";
import { type OpenedRankFile, openRankFiles } from "./open-rank-files.ts";
import { type Distribution, type PlannedTensor, planByRules, planPlaced } from "./plan-tensors.ts";
import { findRankFiles, type RankChoice, type RankFiles, type RankKind } from "./rank-files.ts";
import { DCP_KEYS, SHARDING_INFO } from "./sharding-info.ts";

/** Options of `openRanks`. */
export interface RanksOptions extends ReadOptions, RankChoice {
  /** The names of the files, where the store cannot list them. */
  readonly files?: readonly string[] | undefined;
  /** How tensors were cut; these rules come before those that are known of a kind of files. */
  readonly cuts?: CutRules | undefined;
  /** Do not compare tensors that several ranks are known to have whole. */
  readonly trust?: boolean | undefined;
  /** Called while they are compared, with the bytes read and to be read. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** How a checkpoint was put together. */
export interface RanksReport {
  /** The files, by rank. */
  readonly files: readonly string[];
  readonly ranks: number;
  /** How many tensors were cut, are in several ranks, or in one only. */
  readonly tensors: Readonly<Record<Distribution, number>>;
  /** Bytes that were read to compare tensors. */
  readonly comparedBytes: number;
  /** Rules that were given and matched no tensor. */
  readonly unusedRules: readonly string[];
}

/** The files of all ranks as one checkpoint. */
export interface OpenedRanks {
  readonly kind: RankKind;
  /** Its tensors are tilings over the files. Closing it closes them. */
  readonly checkpoint: Checkpoint;
  readonly report: RanksReport;
}

/**
 * Opens the files that the ranks of a distributed program wrote, each its part, as one ordinary checkpoint. Only headers
 * are read, and tensors that several ranks have whole, to see that they are the same. Tensors come in the order of the
 * files, by rank; metadata is what all files have in common.
 *
 * Files of PyTorch do not say how many ranks there were. If the last are lost, what was cut comes out shorter, without an
 * error.
 *
 * @throws `NOT_FOUND` without such files; `AMBIGUOUS` for several sets, and for a tensor that needs a rule; `INDEX_MISMATCH`
 *   if the files do not fit together or one is missing; `INVALID_INDEX`, `UNSAFE_INTEGER`, `SIZE_OVERFLOW` for wrong
 *   sharding information; `INVALID_SLICE` for a rule that cannot be applied; errors of the headers
 */
export async function openRanks(store: FileStore, options: RanksOptions = {}): Promise<OpenedRanks> {
  const cuts = new CutMap(options.cuts);
  const found = await findFiles(store, options);
  const files = await openRankFiles(store, found.files, options);
  try {
    const kind = resolveKind(store, found, files, options.kind);
    const planned = kind === "dcp" ? await planPlaced(files) : planByRules(kind, files, cuts);
    const comparedBytes = await compareParts(planned, options);
    const views = new Map(planned.map(({ name, view }) => [name, view]));
    const checkpoint = new Checkpoint({
      format: "safetensors",
      metadata: commonMetadata(files),
      tensors: { size: views.size, names: () => views.keys(), find: (name) => views.get(name) },
      close: async () => {
        await Promise.all(files.map((file) => file.checkpoint.close()));
      },
    });
    const report = {
      files: files.map(({ file }) => file),
      ranks: new Set(files.map(({ rank }) => rank)).size,
      tensors: countBy(planned),
      comparedBytes,
      unusedRules: cuts.unused,
    };
    return { kind, checkpoint, report };
  } catch (error) {
    await closeAll(files);
    throw error;
  }
}

/** The files of the ranks. Of the kind `undefined` only their content can tell what they are. */
type FoundFiles = Pick<RankFiles, "files"> & { readonly kind: RankKind | undefined };

async function findFiles(store: FileStore, options: RanksOptions): Promise<FoundFiles> {
  if (!options.files && !store.list) {
    throw new SafetensorsError("UNSUPPORTED", `${store.name} cannot list its files; name those of the ranks`);
  }
  const names = options.files ?? (await store.list!(options));
  const found = findRankFiles(names, store.name, options) ?? unnamed(names, options.kind);
  if (found && found.files.length <= MAX_SHARDS) return found;
  if (found) {
    const text = `${store.name} holds ${found.files.length} files of ranks, at most ${MAX_SHARDS} are allowed`;
    throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_SHARDS" });
  }
  throw noFiles(store);
}

/** PyTorch takes all files of a folder, whatever they are named. */
function unnamed(names: readonly string[], kind: RankKind | undefined): FoundFiles | undefined {
  if (kind !== undefined && kind !== "dcp") return undefined;
  const files = names.filter((name) => /^[^.].*\.safetensors$/.test(name)).sort();
  if (files.length === 0) return undefined;
  for (const file of files) checkShardFileName(file);
  return { kind, files: files.map((file, rank) => ({ file, rank, part: 0 })) };
}

/** Files that say where their tensors belong are of PyTorch, also if they were renamed. */
function resolveKind(
  store: FileStore,
  { kind }: FoundFiles,
  files: readonly OpenedRankFile[],
  wanted: RankKind | undefined,
): RankKind {
  const isPlaced = files.every(({ checkpoint }) => checkpoint.metadata.has(SHARDING_INFO));
  if (isPlaced && (wanted ?? "dcp") === "dcp") return "dcp";
  if (kind === undefined) throw noFiles(store);
  return kind;
}

function noFiles({ name }: FileStore): SafetensorsError {
  const kinds =
    "shard-…-model-….safetensors, model0-mp….safetensors, model-rank-0-part-0.safetensors, rank0.safetensors";
  return new SafetensorsError("NOT_FOUND", `${name} holds no files of ranks, which are named like ${kinds}`, {
    file: name,
  });
}

/** Reads what must be the same, and what must not; returns how many bytes were to be read. */
async function compareParts(planned: readonly PlannedTensor[], options: RanksOptions): Promise<number> {
  const { trust = false, onProgress } = options;
  const toCompare = planned.filter(({ isKnown }) => !(trust && isKnown));
  const total = toCompare.reduce((sum, { copies }) => {
    return copies.reduce((sum, parts) => sum + parts.length * byteLength(parts[0]!.view), sum);
  }, 0);
  let done = 0;
  for (const { name, copies, unlike, isKnown } of toCompare) {
    if (unlike.length > 0 && !(await findDifferent(name, unlike, options))) {
      const files = unlike.map(({ file }) => quote(file)).join(" and ");
      const rule = `{${JSON.stringify(patternFor(name))}: an axis or "replicated"}`;
      const text = `tensor ${quote(name)}: ${files} have the same bytes, though it should be cut; give a rule: ${rule}`;
      throw new SafetensorsError("AMBIGUOUS", text, { tensor: name });
    }
    for (const parts of copies) {
      const different = await findDifferent(name, parts, options, (bytes) => {
        done += bytes;
        onProgress?.(done, total);
      });
      if (different) throw differs(name, parts[0]!, different, isKnown);
    }
  }
  return total;
}

/** What all files say alike, but for where their tensors belong. */
function commonMetadata(files: readonly OpenedRankFile[]): Map<string, string> {
  const [first, ...others] = files.map(({ checkpoint }) => checkpoint.metadata);
  return new Map(
    [...first!].filter(
      ([key, value]) => !DCP_KEYS.has(key) && others.every((other) => other.get(key) === value),
    ),
  );
}

function countBy(planned: readonly PlannedTensor[]): Record<Distribution, number> {
  const counts = { cut: 0, replicated: 0, whole: 0 };
  for (const { distribution } of planned) counts[distribution]++;
  return counts;
}
