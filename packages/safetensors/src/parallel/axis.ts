import type { CutRange } from "../view/cut.ts";
import { checkRank, problem } from "./problem.ts";

/** One of several ranks that share something. */
export interface RankOf {
  readonly rank: number;
  /** How many ranks there are. */
  readonly world: number;
}

/**
 * What happens to sizes that do not divide: `chunk` gives each rank the size rounded up, until nothing is left
 * (torch.chunk, and transformers since September 2025), `strict` refuses (vLLM).
 */
export type UnevenRule = "chunk" | "strict";

/** Most matrices in one: packed experts apart, nothing has more than q, k, v and their gates. */
const MAX_BLOCKS = 1024;

/** One part of indices `start` to `start + size`. `INVALID_SLICE` if they do not divide and must. */
export function chunk(size: number, { rank, world }: RankOf, uneven: UnevenRule, start = 0): CutRange {
  checkRank(rank, world);
  if (uneven === "strict" && size % world !== 0) throw problem(`${size} does not divide by ${world} ranks`);
  const share = Math.ceil(size / world);
  const begin = Math.min(rank * share, size);
  return { start: start + begin, stop: start + Math.min(begin + share, size) };
}

/** Several matrices in one, of equal sizes or in these ratios: each is cut on its own. */
export function chunkBlocks(
  size: number,
  blocks: number | readonly number[],
  rank: RankOf,
  uneven: UnevenRule,
): CutRange[] {
  const count = typeof blocks === "number" ? blocks : blocks.length;
  const isCount = (n: number): boolean => Number.isSafeInteger(n) && n > 0;
  if (!isCount(count) || count > MAX_BLOCKS || (typeof blocks !== "number" && !blocks.every(isCount)))
    throw problem(`[${blocks}] are no blocks of a tensor`);
  const ratios = typeof blocks === "number" ? new Array<number>(count).fill(1) : blocks;
  const unit = size / ratios.reduce((sum, ratio) => sum + ratio, 0);
  if (!Number.isInteger(unit))
    throw problem(`${size} indices are not made of blocks of ${ratios.join(" : ")}`);
  let start = 0;
  return ratios.map((ratio) => {
    const range = chunk(ratio * unit, rank, uneven, start);
    start += ratio * unit;
    return range;
  });
}

/** Indices that come in units of so many which are never cut apart, such as a gate and its up projection. */
export function chunkUnits(size: number, unit: number, rank: RankOf, uneven: UnevenRule): CutRange {
  if (!(Number.isSafeInteger(unit) && unit > 0 && size % unit === 0))
    throw problem(`${size} indices are not made of units of ${unit}`);
  const { start, stop } = chunk(size / unit, rank, uneven);
  return { start: start * unit, stop: stop * unit };
}

/** Attention heads of a model, and how many indices each has (if known, it is checked). */
export interface Heads {
  readonly heads: number;
  readonly headDim?: number;
}

/** The heads of one rank: equally many each. `INVALID_SLICE` if they do not divide. */
export function chunkHeads(size: number, { heads, headDim }: Heads, { rank, world }: RankOf): CutRange {
  checkRank(rank, world);
  const dim = headSize(size, heads, headDim);
  if (heads % world !== 0) throw problem(`${heads} heads do not divide by ${world} ranks`);
  const own = (heads / world) * dim;
  return { start: rank * own, stop: (rank + 1) * own };
}

/**
 * The key or value heads of one rank. Where there are more ranks than heads, ranks next to each other have the same
 * one (vLLM's QKVParallelLinear), so that it goes with the query heads of each.
 */
export function chunkKeyValueHeads(size: number, all: Heads, rank: RankOf): CutRange {
  if (rank.world <= all.heads) return chunkHeads(size, all, rank);
  const { head } = sharedHead(all.heads, rank);
  const dim = headSize(size, all.heads, all.headDim);
  return { start: head * dim, stop: (head + 1) * dim };
}

/** Query, key and value projections in one matrix. */
export interface FusedHeads extends Heads {
  readonly keyValueHeads: number;
  /**
   * `blocks`: all of q, then all of k, then all of v. `groups`: for each key head the query heads that go with it,
   * then its k, then its v (Megatron, Falcon; BLOOM, where each head is a group).
   */
  readonly order: "blocks" | "groups";
}

/** What one rank has of them: its query heads, and the key and value head or heads that go with these. */
export function chunkFusedHeads(size: number, fused: FusedHeads, rank: RankOf): CutRange[] {
  const { heads, keyValueHeads, headDim, order } = fused;
  checkRank(rank.rank, rank.world);
  if (heads % keyValueHeads !== 0)
    throw problem(`${heads} heads do not divide by ${keyValueHeads} key heads`);
  const dim = headSize(size, heads + 2 * keyValueHeads, headDim);
  const [q, kv] = [heads * dim, keyValueHeads * dim];
  if (order === "blocks") {
    const own = chunkKeyValueHeads(kv, { heads: keyValueHeads }, rank);
    return [chunkHeads(q, { heads }, rank), moved(own, q), moved(own, q + kv)];
  }
  if (rank.world <= keyValueHeads) return [chunkHeads(size, { heads: keyValueHeads }, rank)];
  const { head, among } = sharedHead(keyValueHeads, rank);
  const group = size / keyValueHeads;
  const queries = chunkHeads(group - 2 * dim, { heads: heads / keyValueHeads }, among);
  return [moved(queries, head * group), { start: (head + 1) * group - 2 * dim, stop: (head + 1) * group }];
}

/**
 * Rows of a vocabulary that is padded with zeros to a multiple and then cut into equal parts (vLLM's
 * VocabParallelEmbedding with 64; Megatron with `make_vocab_size_divisible_by` times the number of ranks).
 */
export function chunkVocabulary(
  size: number,
  multiple: number,
  { rank, world }: RankOf,
): { readonly range: CutRange; readonly padding: number } {
  checkRank(rank, world);
  if (!(Number.isSafeInteger(multiple) && multiple > 0))
    throw problem(`${multiple} is no multiple to pad to`);
  const padded = Math.ceil(size / multiple) * multiple;
  if (padded % world !== 0)
    throw problem(`a vocabulary of ${size}, padded to ${padded}, does not divide by ${world} ranks`);
  const share = padded / world;
  const start = Math.min(rank * share, size);
  const stop = Math.min(start + share, size);
  return { range: { start, stop }, padding: share - (stop - start) };
}

function headSize(size: number, heads: number, headDim: number | undefined): number {
  if (!(Number.isSafeInteger(heads) && heads > 0)) throw problem(`${heads} is no number of heads`);
  if (size % heads === 0 && (headDim === undefined || size === heads * headDim)) return size / heads;
  const each = headDim === undefined ? "" : ` of ${headDim}`;
  throw problem(`${size} indices are not made of ${heads} heads${each}`);
}

/** Which of the heads belongs to a rank, where they are fewer; and which it is of the ranks that have it. */
function sharedHead(heads: number, { rank, world }: RankOf): { head: number; among: RankOf } {
  checkRank(rank, world);
  if (world % heads !== 0) throw problem(`${world} ranks do not divide by ${heads} key heads`);
  const replicas = world / heads;
  return { head: Math.floor(rank / replicas), among: { rank: rank % replicas, world: replicas } };
}

function moved({ start, stop }: CutRange, by: number): CutRange {
  return { start: start + by, stop: stop + by };
}
