import type { AxisCut, CutRange } from "../view/cut.ts";
import type { RankOf, UnevenRule } from "./axis.ts";
import { checkRank, problem } from "./problem.ts";

/**
 * Which experts a rank has: `linear` gives it neighbours, and one more to each of the first ranks where they do not
 * divide; `round_robin` gives it every so many (both as in vLLM).
 */
export type ExpertPlacement = "linear" | "round_robin";

/** How experts are spread. */
export interface ExpertOptions extends RankOf {
  /** Experts of a layer. */
  readonly experts: number;
  /** `linear` if not given. */
  readonly placement?: ExpertPlacement;
  /** `strict` refuses experts that do not divide by the ranks, as transformers does. */
  readonly uneven?: UnevenRule;
}

/** The experts of a rank. `INVALID_SLICE` if they do not divide and must. */
export function expertRange(options: ExpertOptions): CutRange {
  const { experts, rank, world, placement = "linear", uneven } = options;
  checkRank(rank, world);
  if (!(Number.isSafeInteger(experts) && experts >= 0)) throw problem(`${experts} is no number of experts`);
  if (uneven === "strict" && experts % world !== 0)
    throw problem(`${experts} experts do not divide by ${world} ranks`);
  if (placement === "round_robin") return { start: Math.min(rank, experts), stop: experts, step: world };
  const base = Math.floor(experts / world);
  const more = experts % world;
  const start = rank * base + Math.min(rank, more);
  return { start, stop: start + base + (rank < more ? 1 : 0) };
}

/** Whether an expert is one of these. */
export function hasExpert({ start, stop, step = 1 }: CutRange, expert: number): boolean {
  return expert >= start && expert < stop && (expert - start) % step === 0;
}

/** What a tensor is to the experts: one of a single one, or one that has all of them along its first axis. */
export type ExpertPart = { readonly kind: "one"; readonly expert: number } | { readonly kind: "all" };

/**
 * Whether a tensor belongs to experts that only some tokens go to: `…experts.7.up_proj.weight` or
 * `…experts.gate_up_proj`. Shared experts, which all tokens go to, do not count.
 */
export function expertPartOf(name: string): ExpertPart | undefined {
  const parts = name.split(".");
  const at = parts.indexOf("experts");
  const next = at < 0 ? undefined : parts[at + 1];
  if (next === undefined) return undefined;
  return /^\d+$/.test(next) ? { kind: "one", expert: Number(next) } : { kind: "all" };
}

/**
 * What a rank has of a tensor of experts: nothing, all of it (of one expert), or a part of the first axis. Known
 * from the name, before anything is read.
 *
 * @throws `INVALID_SLICE` for an expert that there is not, and a first axis that is not of the experts
 */
export function cutExperts(
  part: ExpertPart,
  shape: readonly number[],
  options: ExpertOptions,
): AxisCut | "whole" | "none" {
  const { experts } = options;
  const range = expertRange(options);
  if (part.kind === "one") {
    if (part.expert >= experts) throw problem(`there is no expert ${part.expert} of ${experts}`);
    return hasExpert(range, part.expert) ? "whole" : "none";
  }
  if (shape[0] !== experts) throw problem(`the first axis of [${shape}] is not one of ${experts} experts`);
  return { axis: 0, ranges: [range] };
}
