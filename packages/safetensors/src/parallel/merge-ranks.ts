import { Checkpoint } from "../checkpoint/checkpoint.ts";
import { findDifferent } from "../consolidate/find-different.ts";
import { type FilePart, mismatch } from "../consolidate/tile.ts";
import { quote, type SafetensorsError } from "../errors.ts";
import type { ReadOptions } from "../source/source.ts";
import { byteLength } from "../view/view.ts";
import type { TensorInfo, WorldOptions } from "./division.ts";
import { type RankFile, tiesIn } from "./merge-files.ts";
import { checkComplete, cutsOfNotes, ranksOfNotes } from "./merge-notes.ts";
import { cutsOfPlan, ranksOfPlan } from "./merge-plan.ts";
import { type MergedTensor, mergeTensor } from "./merge-tensor.ts";
import type { WorldSizes } from "./mesh.ts";
import { planFor } from "./plan-for.ts";
import { SHARE_NOTE } from "./share-note.ts";

/** Options of `mergeRanks`. */
export interface MergeRanksOptions extends ReadOptions {
  /**
   * How the ranks were made, for files that do not say it, and in place of what they say. The files then need numbers of
   * ranks. A vocabulary that was padded gets the size that the configuration says.
   */
  readonly division?: WorldOptions | undefined;
  /** Do not compare what several ranks have. */
  readonly trust?: boolean | undefined;
  /** Called while it is compared, with the bytes read and to be read. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** How a checkpoint was put together from ranks. */
export interface MergeReport {
  readonly world: WorldSizes;
  readonly ranks: readonly number[];
  /** How many tensors were cut, are whole in several ranks, or in one only. */
  readonly tensors: { readonly cut: number; readonly replicated: number; readonly whole: number };
  /** Bytes that were read to compare what several ranks have. */
  readonly comparedBytes: number;
}

/** The ranks as one checkpoint. */
export interface MergedRanks {
  /** Its tensors are tilings over the files. Closing it closes them. */
  readonly checkpoint: Checkpoint;
  readonly report: MergeReport;
}

/**
 * Puts the files of all ranks together: the inverse of `rankShare`, over all ranks. Files that were made of
 * `shareCheckpoint` say themselves what they have; for others the plan says it, and the shapes of whole tensors follow from
 * it. Of the data only that is read which several ranks have, to see that it is the same. A file may have a part of its
 * rank; of ranks of data parallelism one is enough.
 *
 * Metadata is what all files have in common, and which names are those of others' data. The files stay open, also after an error.
 *
 * @throws `INDEX_MISMATCH` for ranks that are missing, of different checkpoints or worlds, that overlap, leave something
 *   out, or differ where they should not; `INVALID_INDEX` for metadata that is not as it should be; `UNSUPPORTED` for files
 *   that do not say what they are, without a division; as `rankShare` for the division
 */
export async function mergeRanks(
  files: readonly RankFile[],
  options: MergeRanksOptions = {},
): Promise<MergedRanks> {
  const division = options.division && withPlan(options.division);
  const { world, holders, ranks } = division ? ranksOfPlan(files, division) : ranksOfNotes(files);
  const cutsOf = division ? cutsOfPlan(holders, division) : cutsOfNotes;
  const merged = new Map(
    Array.from(holders, ([name, parts]) => [name, mergeTensor(name, cutsOf(name, parts))] as const),
  );
  const ties = new Map([...tiesIn(files)].filter(([name, kept]) => !merged.has(name) && merged.has(kept)));
  if (!division) checkComplete(files, [infosOf(merged, new Map()), infosOf(merged, ties)]);
  const comparedBytes = options.trust ? 0 : await compare(merged, options);
  const tensors = { cut: 0, replicated: 0, whole: 0 };
  for (const { distribution } of merged.values()) tensors[distribution]++;
  const checkpoint = new Checkpoint({
    format: "safetensors",
    metadata: new Map([...commonMetadata(files), ...ties]),
    tensors: { size: merged.size, names: () => merged.keys(), find: (name) => merged.get(name)?.view },
    close: async () => {
      await Promise.all(files.map((file) => file.checkpoint.close()));
    },
  });
  return { checkpoint, report: { world, ranks, tensors, comparedBytes } };
}

/** What the plan says is asked for each tensor. */
function withPlan(division: WorldOptions): WorldOptions {
  const { plan, config, world } = division;
  return plan || !config || (world.tp ?? 1) === 1 ? division : { ...division, plan: planFor(config) };
}

function infosOf(merged: ReadonlyMap<string, MergedTensor>, ties: ReadonlyMap<string, string>): TensorInfo[] {
  const names = [...merged.keys(), ...ties.keys()];
  return names.map((name) => {
    const { dtype, shape } = merged.get(ties.get(name) ?? name)!.view;
    return { name, dtype, shape };
  });
}

/** Reads what must be the same; returns how many bytes were to be read. */
async function compare(
  merged: ReadonlyMap<string, MergedTensor>,
  { signal, onProgress }: MergeRanksOptions,
): Promise<number> {
  const sizeOf = (parts: readonly FilePart[]): number => parts.length * byteLength(parts[0]!.view);
  let total = 0;
  for (const { copies } of merged.values()) for (const parts of copies) total += sizeOf(parts);
  let done = 0;
  for (const [name, { copies, isWhole }] of merged) {
    for (const parts of copies) {
      const different = await findDifferent(name, parts, { signal }, (bytes) => {
        done += bytes;
        onProgress?.(done, total);
      });
      if (different) throw differs(name, parts[0]!, different, isWhole);
    }
  }
  return total;
}

function differs(name: string, one: FilePart, other: FilePart, isWhole: boolean): SafetensorsError {
  const why = isWhole
    ? "though it is whole in every rank: they are of different checkpoints, or it was cut by a rule that is not in the plan"
    : "where both have the same part of it: they are of different checkpoints";
  return mismatch(name, `it is not the same in ${quote(one.file)} and ${quote(other.file)}, ${why}`);
}

/** What all files say alike, but for what they have. */
function commonMetadata(files: readonly RankFile[]): Map<string, string> {
  const [first, ...others] = files.map(({ checkpoint }) => checkpoint.metadata);
  return new Map(
    [...(first ?? [])].filter(
      ([key, value]) => key !== SHARE_NOTE && others.every((other) => other.get(key) === value),
    ),
  );
}
