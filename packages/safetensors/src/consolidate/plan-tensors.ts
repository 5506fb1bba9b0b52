import { inFile, quote } from "../errors.ts";
import type { TensorView } from "../view/tiling.ts";
import { byteLength } from "../view/view.ts";
import type { CutMap } from "./cuts.ts";
import { deepseekRules, isRoutedExpert } from "./deepseek.ts";
import { checkReplicated, joinAlong } from "./join-ranks.ts";
import type { OpenedRankFile } from "./open-rank-files.ts";
import type { RankKind } from "./rank-files.ts";
import { readShardingInfo } from "./sharding-info.ts";
import { type FilePart, mismatch, type PlacedPart, tile } from "./tile.ts";

/** How a tensor came to be: from parts of it, from several files that have it whole, or from the only one. */
export type Distribution = "cut" | "replicated" | "whole";

/** A tensor as it will be, and what is to be read before that can be relied on. */
export interface PlannedTensor {
  readonly name: string;
  readonly view: TensorView;
  readonly distribution: Distribution;
  /** Parts that must have the same bytes. */
  readonly copies: readonly (readonly FilePart[])[];
  /** Whether it is known that the copies are the same; otherwise they may as well be parts, for which a rule is missing. */
  readonly isKnown: boolean;
  /** Parts that must not have the same bytes, or the rule, which nobody gave, is wrong. */
  readonly unlike: readonly FilePart[];
}

/** Puts together the tensors of files that say themselves where each of their tensors belongs. */
export async function planPlaced(files: readonly OpenedRankFile[]): Promise<PlannedTensor[]> {
  const parts = new Map<string, PlacedPart[]>();
  for (const { file, checkpoint } of files) {
    const offsets = await inFile(file, async () => readShardingInfo(checkpoint));
    for (const { name, view } of checkpoint) {
      const part = { file, view, at: offsets.get(name)! };
      const list = parts.get(name);
      if (list) list.push(part);
      else parts.set(name, [part]);
    }
  }
  return Array.from(parts, ([name, list]) => {
    const { view, copies } = tile(name, list);
    const isCut = "pieces" in view && view.pieces.length > 1;
    const distribution = isCut ? "cut" : copies.length > 0 ? "replicated" : "whole";
    return { name, view, copies, distribution, isKnown: true, unlike: [] };
  });
}

/** Puts together the tensors of files of ranks by rules. */
export function planByRules(kind: RankKind, files: readonly OpenedRankFile[], cuts: CutMap): PlannedTensor[] {
  const holders = holdersOf(files);
  const ranks = new Set(files.map(({ rank }) => rank)).size;
  const ownRule = kind === "deepseek" ? deepseekRules(holders.keys()) : () => undefined;
  const tested = new Set<string>();
  return Array.from(holders, ([name, parts]) => {
    const given = cuts.find(name);
    const rule = given ?? ownRule(name);
    const isCut = rule !== undefined && rule !== "replicated" && parts.length > 1;
    checkHolders(kind, name, parts, ranks, isCut);
    const planned = { name, copies: [], isKnown: true, unlike: [] };
    if (parts.length === 1) return { ...planned, view: parts[0]!.view, distribution: "whole" };
    if (isCut) {
      // One tensor of each sort is enough to see that files were not cut as it is thought here.
      const sort = name.split(".").at(-2) ?? name;
      const isTest = given === undefined && !tested.has(sort) && byteLength(parts[0]!.view) > 0;
      const unlike = isTest ? parts.slice(0, 2) : [];
      tested.add(sort);
      return { ...planned, view: joinAlong(name, parts, rule), distribution: "cut", unlike };
    }
    const isKnown = rule === "replicated";
    checkReplicated(name, parts, isKnown);
    return { ...planned, view: parts[0]!.view, distribution: "replicated", copies: [parts], isKnown };
  });
}

/** What each rank has, by the names of the tensors, in the order of the ranks. */
function holdersOf(files: readonly OpenedRankFile[]): Map<string, (FilePart & { readonly rank: number })[]> {
  const holders = new Map<string, (FilePart & { readonly rank: number })[]>();
  for (const { file, rank, checkpoint } of files) {
    for (const { name, view } of checkpoint) {
      const list = holders.get(name) ?? [];
      const before = list.at(-1);
      if (before?.rank === rank) {
        throw mismatch(name, `it is in both ${quote(before.file)} and ${quote(file)}, of the same rank`);
      }
      list.push({ file, rank, view });
      holders.set(name, list);
    }
  }
  return holders;
}

/** A tensor that some ranks lack may have lost a part, unless there is a reason for it to lie in one of them only. */
function checkHolders(
  kind: RankKind,
  name: string,
  parts: readonly FilePart[],
  ranks: number,
  isCut: boolean,
): void {
  if (parts.length === ranks) return;
  const mayBeAlone = kind === "ranks" || (kind === "deepseek" && isRoutedExpert(name));
  if (mayBeAlone && !isCut) return;
  const listed = parts.slice(0, 8).map(({ file }) => quote(file));
  throw mismatch(name, `it is in ${parts.length} of ${ranks} ranks only: in ${listed.join(", ")}`);
}
