import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { mismatch } from "../consolidate/tile.ts";
import { quote, SafetensorsError } from "../errors.ts";
import type { TensorView } from "../view/tiling.ts";
import type { Coordinates, Mesh } from "./mesh.ts";
import type { ShareNote } from "./share-note.ts";

/** A file or a folder with what a rank has, or with a part of that. */
export interface RankFile {
  /** What to call it in messages. */
  readonly file: string;
  readonly checkpoint: Checkpoint;
  /** Number of the rank; what the file says of itself counts before. */
  readonly rank?: number | undefined;
}

/** The same when it is known which rank it is, and what it says of itself, if it does. */
export interface NumberedFile extends RankFile {
  readonly rank: number;
  readonly note: ShareNote | undefined;
}

/** What a file has of a tensor. */
export interface Holder {
  readonly file: string;
  readonly rank: number;
  readonly at: Coordinates;
  readonly view: TensorView;
  readonly note: ShareNote | undefined;
}

/** The files of all ranks. */
export interface RankSet {
  readonly world: Coordinates;
  readonly ranks: readonly number[];
  /** By the names of the tensors, in the order of the ranks. */
  readonly holders: ReadonlyMap<string, readonly Holder[]>;
}

/** Missing ranks that a message lists. */
const LISTED = 8;

/**
 * Finds what each rank has of each tensor.
 *
 * @throws `INDEX_MISMATCH` if a rank is missing, or has a tensor twice
 */
export function gatherRanks(mesh: Mesh, files: readonly NumberedFile[]): RankSet {
  checkRanks(mesh, files);
  const holders = new Map<string, Holder[]>();
  for (const { file, rank, checkpoint, note } of files.toSorted((a, b) => a.rank - b.rank)) {
    const at = mesh.coordinatesOf(rank);
    for (const { name, view } of checkpoint) {
      const list = holders.get(name) ?? [];
      const before = list.at(-1);
      if (before?.rank === rank) {
        const both = `${quote(before.file)} and ${quote(file)}`;
        throw mismatch(name, `it is in both ${both}, which are of rank ${rank}: take one of them`);
      }
      list.push({ file, rank, at, view, note });
      holders.set(name, list);
    }
  }
  const ranks = [...new Set(files.map(({ rank }) => rank))].sort((a, b) => a - b);
  return { world: mesh.sizes, ranks, holders };
}

/** Names without data of their own, each with the one whose data they share, as the metadata of the files says. */
export function tiesIn(files: readonly RankFile[]): ReadonlyMap<string, string> {
  const ties = new Map<string, string>();
  for (const { checkpoint } of files)
    for (const [name, kept] of checkpoint.metadata)
      if (!checkpoint.has(name) && checkpoint.has(kept)) ties.set(name, kept);
  return ties;
}

/** Of ranks that differ in data parallelism only, one will do. */
function checkRanks(mesh: Mesh, files: readonly NumberedFile[]): void {
  const placeOf = (rank: number): string => {
    const { tp, pp, ep } = mesh.coordinatesOf(rank);
    return `${tp} ${pp} ${ep}`;
  };
  for (const { file, rank } of files) {
    if (rank < mesh.size) continue;
    const text = `${quote(file)} is of rank ${rank}, but the world has ${mesh.size} ranks (${sizesText(mesh.sizes)})`;
    throw new SafetensorsError("INDEX_MISMATCH", text, { file });
  }
  const there = new Set(files.map(({ rank }) => placeOf(rank)));
  const missing = Array.from({ length: mesh.size }, (_, rank) => rank).filter(
    (rank) => !there.has(placeOf(rank)),
  );
  if (missing.length === 0) return;
  const listed = missing.slice(0, LISTED).join(", ");
  const which =
    missing.length > LISTED
      ? `${missing.length} ranks are missing: ${listed} …`
      : `rank ${listed} is missing`;
  const text = `of the ${mesh.size} ranks (${sizesText(mesh.sizes)}), ${which}; give the files of all`;
  throw new SafetensorsError("INDEX_MISMATCH", text);
}

/** `tp 4, pp 2`. */
export function sizesText(sizes: Coordinates): string {
  const axes = (["tp", "pp", "ep", "dp"] as const).filter((axis) => sizes[axis] > 1);
  return axes.length === 0 ? "tp 1" : axes.map((axis) => `${axis} ${sizes[axis]}`).join(", ");
}
